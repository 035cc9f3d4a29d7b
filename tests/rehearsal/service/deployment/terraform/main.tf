# A service's deployment, without a provider: what a cloud would do is done by the stand-in, to its world.

variable "TAGGED_IMAGE" {
  type = string
}

variable "ENVIRONMENT" {
  type = string
}

resource "terraform_data" "service" {
  input = var.TAGGED_IMAGE

  provisioner "local-exec" {
    command = "deploy-in-rehearsal"
    environment = {
      IMAGE       = self.input
      ENVIRONMENT = var.ENVIRONMENT
    }
  }
}
