package check

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/pgconvoy/pgconvoy/internal/config"
)

const kubernetesDir = "../kubernetes"

// cluster is what one overlay makes, by name.
type cluster struct {
	deployments map[string]appsv1.Deployment
	jobs        map[string]batchv1.Job
	scaled      map[string]scaledJob
	services    map[string]corev1.Service
	configs     map[string]corev1.ConfigMap
	monitors    map[string]monitoringv1.PodMonitor
}

// build does what kubectl kustomize does, and decodes the result strictly.
func build(t *testing.T, dir string) cluster {
	t.Helper()
	made, err := krusty.MakeKustomizer(&krusty.Options{LoadRestrictions: types.LoadRestrictionsRootOnly, PluginConfig: types.DisabledPluginConfig()}).
		Run(filesys.MakeFsOnDisk(), dir)
	require.NoError(t, err)
	c := cluster{
		map[string]appsv1.Deployment{}, map[string]batchv1.Job{}, map[string]scaledJob{},
		map[string]corev1.Service{}, map[string]corev1.ConfigMap{}, map[string]monitoringv1.PodMonitor{},
	}
	for _, r := range made.Resources() {
		text, err := r.AsYAML()
		require.NoError(t, err)
		switch gvk, name := r.GetGvk(), r.GetName(); gvk.ApiVersion() + " " + gvk.Kind {
		case "apps/v1 Deployment":
			decode(t, text, c.deployments, name)
		case "batch/v1 Job":
			decode(t, text, c.jobs, name)
		case "keda.sh/v1alpha1 ScaledJob":
			decode(t, text, c.scaled, name)
		case "v1 Service":
			decode(t, text, c.services, name)
		case "v1 ConfigMap":
			decode(t, text, c.configs, name)
		case "monitoring.coreos.com/v1 PodMonitor":
			decode(t, text, c.monitors, name)
		default:
			t.Fatalf("%s: no test knows what a %s %s is", dir, gvk.ApiVersion(), gvk.Kind)
		}
	}
	return c
}

func decode[T any](t *testing.T, text []byte, into map[string]T, name string) {
	t.Helper()
	var v T
	require.NoError(t, yaml.UnmarshalStrict(text, &v), string(text))
	require.NotContains(t, into, name)
	into[name] = v
}

// overlays returns what each overlay makes.
func overlays(t *testing.T) map[string]cluster {
	t.Helper()
	dirs, err := os.ReadDir(filepath.Join(kubernetesDir, "overlays"))
	require.NoError(t, err)
	all := map[string]cluster{}
	for _, d := range dirs {
		all[d.Name()] = build(t, filepath.Join(kubernetesDir, "overlays", d.Name()))
	}
	return all
}

// pods returns the pods' specs by the names of what makes them.
func (c cluster) pods() map[string]corev1.PodTemplateSpec {
	pods := map[string]corev1.PodTemplateSpec{}
	for name, d := range c.deployments {
		pods["deployment/"+name] = d.Spec.Template
	}
	for name, j := range c.jobs {
		pods["job/"+name] = j.Spec.Template
	}
	for name, s := range c.scaled {
		pods["scaledjob/"+name] = s.Spec.JobTargetRef.Template
	}
	return pods
}

func kubernetesProcesses(t *testing.T) []process {
	var found []process
	for overlay, c := range overlays(t) {
		for name, pod := range c.pods() {
			for _, container := range pod.Spec.Containers {
				if container.Name != "planner" && container.Name != "worker" {
					continue
				}
				found = append(found, process{
					where: "kubernetes/" + overlay + "/" + name, program: container.Name, args: container.Args,
					env: c.env(t, container), stop: time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second,
					refill: strings.HasPrefix(name, "scaledjob/"),
				})
			}
		}
	}
	return found
}

// env returns the variables of a container.
func (c cluster) env(t *testing.T, container corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range container.EnvFrom {
		require.Contains(t, c.configs, from.ConfigMapRef.Name)
		for name, value := range c.configs[from.ConfigMapRef.Name].Data {
			if value != "" { // which counts as not set
				env[name] = value
			}
		}
	}
	for _, e := range container.Env {
		if e.ValueFrom != nil {
			require.NotNil(t, e.ValueFrom.SecretKeyRef, e.Name)
		}
		env[e.Name] = e.Value
	}
	return env
}

// TestPods makes sure that every pod has few rights, and that what its parts
// name is there.
func TestPods(t *testing.T) {
	t.Parallel()
	for overlay, c := range overlays(t) {
		for name, pod := range c.pods() {
			where, spec := overlay+" "+name, pod.Spec
			require.False(t, *spec.AutomountServiceAccountToken, where)
			require.False(t, *spec.EnableServiceLinks, where)
			require.True(t, *spec.SecurityContext.RunAsNonRoot, where)
			require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, spec.SecurityContext.SeccompProfile.Type, where)
			volumes := map[string]bool{}
			for _, v := range spec.Volumes {
				volumes[v.Name] = true
			}
			for _, container := range spec.Containers {
				require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem, where)
				require.False(t, *container.SecurityContext.AllowPrivilegeEscalation, where)
				require.Equal(t, []corev1.Capability{"ALL"}, container.SecurityContext.Capabilities.Drop, where)
				require.NotContains(t, []string{"pgconvoy-planner", "pgconvoy-worker"}, container.Image, "%s: kustomize has not put a registry before it", where)
				for _, m := range container.VolumeMounts {
					require.Contains(t, volumes, m.Name, where)
				}
				requireProbes(t, where, container)
				requireFiles(t, where, c.env(t, container), container)
			}
			requireExplained(t, where, c, pod.Spec)
		}
		for name, s := range c.services {
			requireSelected(t, fmt.Sprintf("%s: service %s", overlay, name), c, s)
		}
	}
}

// requireProbes makes sure that the probes ask a port that the container has.
func requireProbes(t *testing.T, where string, container corev1.Container) {
	t.Helper()
	ports := map[string]bool{}
	for _, p := range container.Ports {
		ports[p.Name] = true
	}
	for _, probe := range []*corev1.Probe{container.ReadinessProbe, container.LivenessProbe} {
		if probe != nil {
			require.Contains(t, ports, probe.HTTPGet.Port.String(), where)
		}
	}
}

// requireFiles makes sure that the files which settings name are mounted.
func requireFiles(t *testing.T, where string, env map[string]string, container corev1.Container) {
	t.Helper()
	for name, value := range env {
		if !strings.HasPrefix(value, "/") {
			continue
		}
		mounted := false
		for _, m := range container.VolumeMounts {
			mounted = mounted || value == m.MountPath || strings.HasPrefix(value, m.MountPath+"/")
		}
		require.True(t, mounted, "%s: %s=%s is not below a mounted volume", where, name, value)
	}
}

// requireExplained makes sure that docs/deploying.md makes what a pod wants and no
// overlay has: secrets with their keys, and configuration.
func requireExplained(t *testing.T, where string, c cluster, spec corev1.PodSpec) {
	t.Helper()
	text, err := os.ReadFile("../../docs/deploying.md")
	require.NoError(t, err)
	want := map[string][]string{} // by what creates it, the files
	for _, container := range spec.Containers {
		for _, e := range container.Env {
			if e.ValueFrom != nil {
				ref := e.ValueFrom.SecretKeyRef
				want["secret generic "+ref.Name] = append(want["secret generic "+ref.Name], ref.Key)
			}
		}
		for _, m := range container.VolumeMounts {
			volume := spec.Volumes[slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })]
			create := ""
			switch {
			case volume.Secret != nil:
				create = "secret generic " + volume.Secret.SecretName
			case volume.ConfigMap != nil && c.configs[volume.ConfigMap.Name].Name == "":
				create = "configmap " + volume.ConfigMap.Name
			default:
				continue
			}
			for _, value := range append(container.Args, slices.Collect(maps.Values(c.env(t, container)))...) {
				if file, ok := strings.CutPrefix(value, m.MountPath+"/"); ok {
					want[create] = append(want[create], file)
				}
			}
		}
	}
	for create, files := range want {
		_, rest, found := strings.Cut(string(text), "kubectl create "+create+" ")
		require.True(t, found, "%s: nothing creates %s", where, create)
		line, _, _ := strings.Cut(rest, "\n")
		for _, file := range files {
			require.Regexp(t, `--from-file=(\S*/)?`+regexp.QuoteMeta(file)+`( |$)`, line, where)
		}
	}
}

// requireSelected makes sure that a service finds a pod with its ports.
func requireSelected(t *testing.T, where string, c cluster, s corev1.Service) {
	t.Helper()
	for _, pod := range c.pods() {
		matches := true
		for key, value := range s.Spec.Selector {
			matches = matches && pod.Labels[key] == value
		}
		if !matches {
			continue
		}
		var names []string
		for _, p := range pod.Spec.Containers[0].Ports {
			names = append(names, p.Name)
		}
		for _, p := range s.Spec.Ports {
			require.Contains(t, names, p.TargetPort.String(), where)
		}
		return
	}
	t.Fatalf("%s finds no pod", where)
}

// TestScaledJobs holds the overlays for KEDA against what they replace, and
// against the queue.
func TestScaledJobs(t *testing.T) {
	c := build(t, filepath.Join(kubernetesDir, "overlays", "keda"))
	require.NotContains(t, c.deployments, "pgconvoy-worker")
	scaled := c.scaled["pgconvoy-worker"].Spec
	require.ElementsMatch(t, triggerKeys("metrics-api"), slices.Collect(maps.Keys(scaled.Triggers[0].Metadata)))
	url := scaled.Triggers[0].Metadata["url"]
	service, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
	require.Contains(t, c.services, service, url)

	// The pod is that of the Deployment, but for what makes it end.
	stays := build(t, filepath.Join(kubernetesDir, "overlays", "own-nats")).deployments["pgconvoy-worker"].Spec.Template
	ends := scaled.JobTargetRef.Template
	require.Equal(t, corev1.RestartPolicyNever, ends.Spec.RestartPolicy)
	ends.Spec.RestartPolicy = stays.Spec.RestartPolicy
	ends.Spec.Containers[0].Args = stays.Spec.Containers[0].Args
	want, err := yaml.Marshal(stays)
	require.NoError(t, err)
	got, err := yaml.Marshal(ends)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))

	lag := build(t, filepath.Join(kubernetesDir, "overlays", "keda-lag")).scaled["pgconvoy-worker"].Spec
	require.Equal(t, "sum", lag.ScalingStrategy.MultipleScalersCalculation)
	slots := c.env(t, stays.Spec.Containers[0])
	checkLag(t, lag, slots)
}

// checkLag makes sure that the stages are all there, each with the slots of a
// worker for a threshold.
func checkLag(t *testing.T, lag scaledJobSpec, env map[string]string) {
	t.Helper()
	for name, value := range env {
		t.Setenv(name, value)
	}
	cfg, err := config.Load("", nil)
	require.NoError(t, err)
	thresholds := map[string]string{}
	for _, trigger := range lag.Triggers {
		require.ElementsMatch(t, triggerKeys(trigger.Type), slices.Collect(maps.Keys(trigger.Metadata)))
		require.Equal(t, "PGCONVOY-"+cfg.Run, trigger.Metadata["stream"])
		thresholds[trigger.Metadata["consumer"]] = trigger.Metadata["lagThreshold"]
	}
	want := map[string]string{}
	for stage, n := range cfg.Slots.All() {
		want[stage] = strconv.Itoa(n)
	}
	require.Equal(t, want, thresholds)
	most := (cfg.Caps.Copy + cfg.Caps.Index) / cfg.Slots.Copy
	require.EqualValues(t, most, lag.MaxReplicaCount)
}

// TestPodMonitor makes sure that it finds the pods of both programs.
func TestPodMonitor(t *testing.T) {
	t.Parallel()
	monitor := build(t, filepath.Join(kubernetesDir, "components", "podmonitor")).monitors["pgconvoy"]
	for overlay, c := range overlays(t) {
		for name, pod := range c.pods() {
			if pod.Spec.Containers[0].Name == "nats" {
				continue
			}
			for key, value := range monitor.Spec.Selector.MatchLabels {
				require.Equal(t, value, pod.Labels[key], "%s %s", overlay, name)
			}
			require.Equal(t, pod.Spec.Containers[0].Ports[0].Name, *monitor.Spec.PodMetricsEndpoints[0].Port)
		}
	}
}
