# What deploy.yml gives, and where it goes. It looks for the image's fingerprint in the plan before it applies that.

variable "TAGGED_IMAGE" {
  description = "The image by its digest: REGISTRY/saver:TAG@sha256:FINGERPRINT"
  type        = string
}

variable "ENVIRONMENT" {
  description = "The environment in Kosli that is deployed into: aws-prod"
  type        = string
}

locals {
  container_definitions = jsonencode([{
    name        = "saver"
    image       = var.TAGGED_IMAGE
    essential   = true
    environment = [{ name = "ENVIRONMENT", value = var.ENVIRONMENT }]
  }])
}
