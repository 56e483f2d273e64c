package attest

import (
	"slices"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/model"
)

func TestFromModel(t *testing.T) {
	for name, c := range map[string]struct {
		declared model.Workload
		want     Workload
	}{
		"process": {
			model.Workload{Unix: &model.UnixSelector{User: "shop", Path: "/usr/bin/catalog", SHA256: strings.ToUpper(hexA)}},
			Workload{{Kind: UnixUser, Value: "shop"}, {Kind: UnixPath, Value: "/usr/bin/catalog"}, {Kind: UnixSHA256, Value: hexA}},
		},
		"user by number": {model.Workload{Unix: &model.UnixSelector{User: "1000"}}, Workload{{Kind: UnixUID, Value: "1000"}}},
		"container and process": {
			model.Workload{
				Unix:      &model.UnixSelector{User: "0"},
				Container: &model.ContainerSelector{Image: "sha256:" + hexA, Labels: map[string]string{"tier": "2", "app": "catalog", "empty": ""}},
			},
			Workload{
				{Kind: UnixUID, Value: "0"},
				{Kind: ContainerImage, Value: "sha256:" + hexA},
				{ContainerLabel, "app", "catalog"},
				{ContainerLabel, "empty", ""},
				{ContainerLabel, "tier", "2"},
			},
		},
		"service account": {
			model.Workload{Kubernetes: &model.KubernetesSelector{Namespace: "shop", ServiceAccount: "catalog"}},
			Workload{{Kind: KubernetesNamespace, Value: "shop"}, {Kind: KubernetesServiceAccount, Value: "catalog"}},
		},
		"nothing": {model.Workload{}, nil},
	} {
		got := FromModel(c.declared)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		_, err := NewMatcher(map[string][]Workload{"catalog": {got}})
		if (err == nil) != (len(got) > 0) {
			t.Errorf("%s: matcher: %v", name, err)
		}
	}
}
