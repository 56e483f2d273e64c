package attest

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/palisade-security/palisade/model"
)

// FromModel turns a declared workload into selectors. A user given as a number is a user id. A path must be the
// executable's own, not a symbolic link to it: the kernel knows no other.
func FromModel(w model.Workload) Workload {
	var out Workload
	add := func(kind Kind, value string) {
		if value != "" {
			out = append(out, Selector{Kind: kind, Value: value})
		}
	}
	if u := w.Unix; u != nil {
		user := UnixUser
		if _, err := strconv.ParseUint(u.User, 10, 32); err == nil {
			user = UnixUID
		}
		add(user, u.User)
		add(UnixPath, u.Path)
		add(UnixSHA256, strings.ToLower(u.SHA256))
	}
	if c := w.Container; c != nil {
		add(ContainerImage, c.Image)
		for _, key := range slices.Sorted(maps.Keys(c.Labels)) {
			out = append(out, Selector{ContainerLabel, key, c.Labels[key]})
		}
	}
	if k := w.Kubernetes; k != nil {
		add(KubernetesNamespace, k.Namespace)
		add(KubernetesServiceAccount, k.ServiceAccount)
	}
	return out
}
