# nomad var put nomad/jobs/pgconvoy-worker source_password=… target_password=… nats_password=…
# nomad job run deployments/cloud/nomad.hcl
job "pgconvoy-worker" {
  datacenters = ["*"]
  type        = "batch"

  group "worker" {
    count = 8

    restart {
      attempts = 3
      delay    = "15s"
      mode     = "fail"
    }

    task "worker" {
      driver = "docker"
      # Longer than grace. A client's max_kill_timeout, 30s by default, must allow it.
      kill_timeout = "45s"

      config {
        image           = "registry.example/pgconvoy-worker:1"
        args            = ["--exit-when-idle=1m", "--linger"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      env {
        PGCONVOY_SOURCE_URI           = "postgres://convoy_reader@old.example/shop?sslmode=verify-full&sslrootcert=system"
        PGCONVOY_SOURCE_PASSWORD_FILE = "${NOMAD_SECRETS_DIR}/source-password"
        PGCONVOY_TARGET_URI           = "postgres://convoy_writer@new.example/shop?sslmode=verify-full&sslrootcert=system"
        PGCONVOY_TARGET_PASSWORD_FILE = "${NOMAD_SECRETS_DIR}/target-password"
        PGCONVOY_NATS_URL             = "tls://nats.example:4222"
        PGCONVOY_NATS_USER            = "worker"
        PGCONVOY_GRACE                = "30s"
      }

      template {
        destination = "secrets/source-password"
        data        = "{{ with nomadVar \"nomad/jobs/pgconvoy-worker\" }}{{ .source_password }}{{ end }}"
        change_mode = "noop" # the file is read for every connection
        uid         = 65532
        gid         = 65532
        perms       = "0400"
      }
      template {
        destination = "secrets/target-password"
        data        = "{{ with nomadVar \"nomad/jobs/pgconvoy-worker\" }}{{ .target_password }}{{ end }}"
        change_mode = "noop"
        uid         = 65532
        gid         = 65532
        perms       = "0400"
      }
      template {
        destination = "secrets/nats.env"
        data        = "PGCONVOY_NATS_PASSWORD={{ with nomadVar \"nomad/jobs/pgconvoy-worker\" }}{{ .nats_password }}{{ end }}"
        env         = true
      }

      resources {
        cpu    = 1000
        memory = 512
      }
    }
  }
}
