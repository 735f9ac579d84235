package check

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/batch/apiv1/batchpb"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"
)

// How long the platforms give a container to end; none of them lets one say so,
// but for ECS, whose most it is.
const (
	batchStop    = 30 * time.Second
	cloudRunStop = 10 * time.Second
	azureStop    = 30 * time.Second
)

func cloud(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "cloud", file))
	require.NoError(t, err)
	return text
}

// strict decodes JSON into the type of a library, all of whose keys must be its
// fields.
func strict(t *testing.T, text []byte, into any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(into))
}

// batchProcesses reads the job definition of AWS Batch, and the array that is
// submitted with it.
func batchProcesses(t *testing.T) []process {
	var def batch.RegisterJobDefinitionInput
	strict(t, cloud(t, "aws-batch.json"), &def)
	var submit batch.SubmitJobInput
	strict(t, cloud(t, "aws-batch-submit.json"), &submit)
	require.Equal(t, *def.JobDefinitionName, *submit.JobDefinition)
	require.GreaterOrEqual(t, *submit.ArrayProperties.Size, int32(2), "what Batch calls an array")

	c := def.ContainerProperties
	require.True(t, *c.ReadonlyRootFilesystem)
	p := process{where: "cloud/aws-batch.json", program: "worker", args: c.Command, env: map[string]string{}, stop: batchStop}
	for _, e := range c.Environment {
		p.env[*e.Name] = *e.Value
	}
	for _, s := range c.Secrets {
		p.env[*s.Name] = ""
	}
	return []process{p}
}

func ecsProcesses(t *testing.T) []process {
	var def ecs.RegisterTaskDefinitionInput
	strict(t, cloud(t, "ecs-task.json"), &def)
	c := def.ContainerDefinitions[0]
	require.True(t, *c.ReadonlyRootFilesystem)
	require.LessOrEqual(t, *c.StopTimeout, int32(120), "the most on Fargate")
	p := process{where: "cloud/ecs-task.json", program: "worker", args: c.Command, env: map[string]string{}, stop: time.Duration(*c.StopTimeout) * time.Second}
	for _, e := range c.Environment {
		p.env[*e.Name] = *e.Value
	}
	for _, s := range c.Secrets {
		p.env[*s.Name] = ""
	}
	return []process{p}
}

func cloudRunProcesses(t *testing.T) []process {
	text, err := yaml.YAMLToJSONStrict(cloud(t, "cloudrun-job.yaml"))
	require.NoError(t, err)
	var job cloudRunJob
	strict(t, text, &job)
	spec := job.Spec.Template.Spec
	require.Equal(t, spec.TaskCount, spec.Parallelism)
	c := spec.Template.Spec.Containers[0]
	p := process{where: "cloud/cloudrun-job.yaml", program: "worker", args: c.Args, env: map[string]string{}, stop: cloudRunStop}
	for _, e := range c.Env {
		p.env[e.Name] = e.Value
	}
	return []process{p}
}

func gcpBatchProcesses(t *testing.T) []process {
	var job batchpb.Job
	require.NoError(t, protojson.Unmarshal(cloud(t, "gcp-batch.json"), &job))
	group := job.GetTaskGroups()[0]
	require.Equal(t, group.GetTaskCount(), group.GetParallelism())
	task := group.GetTaskSpec()
	c := task.GetRunnables()[0].GetContainer()
	require.Contains(t, c.GetOptions(), "--stop-timeout=45")
	p := process{where: "cloud/gcp-batch.json", program: "worker", args: c.GetCommands(), env: map[string]string{}, stop: 45 * time.Second}
	for name, value := range task.GetEnvironment().GetVariables() {
		p.env[name] = value
	}
	for name := range task.GetEnvironment().GetSecretVariables() {
		p.env[name] = ""
	}
	return []process{p}
}

func azureProcesses(t *testing.T) []process {
	text, err := yaml.YAMLToJSONStrict(cloud(t, "azure-containerapp-job.yaml"))
	require.NoError(t, err)
	var job azureJob
	strict(t, text, &job)
	config, template := job.Properties.Configuration, job.Properties.Template
	require.Equal(t, config.ManualTriggerConfig.Parallelism, config.ManualTriggerConfig.ReplicaCompletionCount)
	secrets := map[string]bool{}
	for _, s := range config.Secrets {
		require.Contains(t, job.Identity.UserAssignedIdentities, s.Identity)
		secrets[s.Name] = true
	}
	files := map[string]bool{}
	for _, s := range template.Volumes[0].Secrets {
		require.Contains(t, secrets, s.SecretRef)
		files[template.Containers[0].VolumeMounts[0].MountPath+"/"+s.Path] = true
	}
	c := template.Containers[0]
	p := process{where: "cloud/azure-containerapp-job.yaml", program: "worker", args: c.Args, env: map[string]string{}, stop: azureStop}
	for _, e := range c.Env {
		p.env[e.Name] = e.Value
		if e.Value == "" {
			require.Contains(t, secrets, e.SecretRef)
		}
		if strings.HasPrefix(e.Value, "/") {
			require.Contains(t, files, e.Value)
		}
	}
	return []process{p}
}
