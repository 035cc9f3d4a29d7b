# A service on ECS, as deploy.yml deploys it. The cluster, the service's network and its roles are somebody else's.

terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # The lock is a file beside the state: two deployments of this service never run at once. This is prod's state. The
  # pipeline that deploys into beta names its own with -backend-config.
  backend "s3" {
    bucket       = "acme-shop-terraform"
    key          = "saver/aws-prod.tfstate"
    region       = "eu-central-1"
    use_lockfile = true
  }
}

provider "aws" {
  region = "eu-central-1"
}

resource "aws_ecs_task_definition" "saver" {
  family                   = "saver"
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = "arn:aws:iam::222222222222:role/saver-execution"
  task_role_arn            = "arn:aws:iam::222222222222:role/saver-task"
  container_definitions    = local.container_definitions
}

resource "aws_ecs_service" "saver" {
  name            = "saver"
  cluster         = trimprefix(var.ENVIRONMENT, "aws-")
  launch_type     = "FARGATE"
  desired_count   = 2
  task_definition = aws_ecs_task_definition.saver.arn

  network_configuration {
    subnets = ["subnet-0123456789abcdef0"]
  }
}
