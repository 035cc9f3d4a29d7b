"""The rehearsal of the workflows: the stage (stage.py), and local stand-ins for actions and programs."""
