package check

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The types below are written after the documentation of the platforms, as far as
// the files here use them, since the platforms' own are not to be had, or bring
// all of a client with them. Pods and containers within them are Kubernetes' own.

// scaledJob is KEDA's. Its own type comes with the whole of client-go.
type scaledJob struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              scaledJobSpec `json:"spec"`
}

type scaledJobSpec struct {
	JobTargetRef               batchv1.JobSpec `json:"jobTargetRef"`
	PollingInterval            int32           `json:"pollingInterval"`
	MaxReplicaCount            int32           `json:"maxReplicaCount"`
	SuccessfulJobsHistoryLimit int32           `json:"successfulJobsHistoryLimit"`
	FailedJobsHistoryLimit     int32           `json:"failedJobsHistoryLimit"`
	Rollout                    struct {
		Strategy string `json:"strategy"`
	} `json:"rollout"`
	ScalingStrategy struct {
		Strategy                   string `json:"strategy"`
		MultipleScalersCalculation string `json:"multipleScalersCalculation"`
	} `json:"scalingStrategy"`
	Triggers []struct {
		Type     string            `json:"type"`
		Metadata map[string]string `json:"metadata"`
	} `json:"triggers"`
}

// triggerKeys lists the metadata that the scalers take which are used here.
func triggerKeys(scaler string) []string {
	return map[string][]string{
		"metrics-api":    {"url", "valueLocation", "targetValue"},
		"nats-jetstream": {"natsServerMonitoringEndpoint", "account", "stream", "consumer", "lagThreshold"},
	}[scaler]
}

// cloudRunJob is a job of Cloud Run, whose type comes with all of Google's APIs.
type cloudRunJob struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Template struct {
			Spec struct {
				TaskCount   int64 `json:"taskCount"`
				Parallelism int64 `json:"parallelism"`
				Template    struct {
					Spec cloudRunTask `json:"spec"`
				} `json:"template"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

type cloudRunTask struct {
	MaxRetries         int64              `json:"maxRetries"`
	TimeoutSeconds     int64              `json:"timeoutSeconds,string"`
	ServiceAccountName string             `json:"serviceAccountName"`
	Containers         []corev1.Container `json:"containers"`
	Volumes            []corev1.Volume    `json:"volumes"`
}

// azureJob is a job of Azure Container Apps.
type azureJob struct {
	Location string `json:"location"`
	Identity struct {
		Type                   string              `json:"type"`
		UserAssignedIdentities map[string]struct{} `json:"userAssignedIdentities"`
	} `json:"identity"`
	Properties struct {
		EnvironmentID string `json:"environmentId"`
		Configuration struct {
			TriggerType         string `json:"triggerType"`
			ManualTriggerConfig struct {
				Parallelism            int32 `json:"parallelism"`
				ReplicaCompletionCount int32 `json:"replicaCompletionCount"`
			} `json:"manualTriggerConfig"`
			ReplicaRetryLimit int32         `json:"replicaRetryLimit"`
			ReplicaTimeout    int32         `json:"replicaTimeout"`
			Secrets           []azureSecret `json:"secrets"`
		} `json:"configuration"`
		Template struct {
			Containers []azureContainer `json:"containers"`
			Volumes    []azureVolume    `json:"volumes"`
		} `json:"template"`
	} `json:"properties"`
}

type azureSecret struct {
	Name        string `json:"name"`
	KeyVaultURL string `json:"keyVaultUrl"`
	Identity    string `json:"identity"`
}

type azureContainer struct {
	Name  string   `json:"name"`
	Image string   `json:"image"`
	Args  []string `json:"args"`
	Env   []struct {
		Name      string `json:"name"`
		Value     string `json:"value"`
		SecretRef string `json:"secretRef"`
	} `json:"env"`
	Resources struct {
		CPU    float64 `json:"cpu"`
		Memory string  `json:"memory"`
	} `json:"resources"`
	VolumeMounts []struct {
		VolumeName string `json:"volumeName"`
		MountPath  string `json:"mountPath"`
	} `json:"volumeMounts"`
}

type azureVolume struct {
	Name        string `json:"name"`
	StorageType string `json:"storageType"`
	Secrets     []struct {
		SecretRef string `json:"secretRef"`
		Path      string `json:"path"`
	} `json:"secrets"`
}
