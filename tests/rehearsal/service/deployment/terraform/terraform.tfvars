# What a service's repository says, on purpose or not: the approved image is deployed all the same.
TAGGED_IMAGE = "registry.example.com/another:latest"
