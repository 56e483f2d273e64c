package model

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// workload checks that selectors say something, and something that can match.
func (c *checker) workload(key string, w Workload) {
	if w.Unix == nil && w.Container == nil && w.Kubernetes == nil {
		c.fail("empty-selector", key, "expected what proves that a workload is this service, found nothing", "write unix: {...}, container: {...} or kubernetes: {...}")
	}
	if u := w.Unix; u != nil {
		at := key + ".unix"
		if *u == (UnixSelector{}) {
			c.fail("empty-selector", at, "every process would match", "write user, path or sha256")
		}
		if u.User != "" && !isUser(u.User) {
			c.fail("bad-selector", at+".user", fmt.Sprintf("%q is not a user", u.User), "write a name, or a number in quotes")
		}
		if u.Path != "" && !cleanPath(u.Path) {
			c.fail("bad-selector", at+".path", fmt.Sprintf("%q is not an absolute path without . and ..", u.Path), "write the path of the executable as /proc shows it: /usr/bin/catalog")
		}
		if u.SHA256 != "" && !isSHA256(u.SHA256) {
			c.fail("bad-selector", at+".sha256", "expected 64 hexadecimal digits in lower case", "take what sha256sum prints")
		}
	}
	if k := w.Container; k != nil {
		at := key + ".container"
		if k.Image == "" && len(k.Labels) == 0 {
			c.fail("empty-selector", at, "every container would match", "write image or labels")
		}
		if digest, ok := strings.CutPrefix(k.Image, "sha256:"); k.Image != "" && (!ok || !isSHA256(digest)) {
			c.fail("bad-selector", at+".image", fmt.Sprintf("%q is not the digest of an image", k.Image), "a name can be moved to another image; write sha256: and 64 hexadecimal digits")
		}
		for _, label := range sortedKeys(k.Labels) {
			if label == "" || strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }) {
				c.failKey("bad-selector", join(at+".labels", label), quote(label)+" is not the name of a label", "")
			}
		}
	}
	if k := w.Kubernetes; k != nil {
		if k.Namespace != "" && (!isDNSName(k.Namespace) || strings.ContainsAny(k.Namespace, "._")) {
			c.fail("bad-selector", key+".kubernetes.namespace", fmt.Sprintf("%q is not the name of a namespace", k.Namespace), "")
		}
		if k.ServiceAccount != "" && (!isDNSName(k.ServiceAccount) || strings.Contains(k.ServiceAccount, "_")) {
			c.fail("bad-selector", key+".kubernetes.service_account", fmt.Sprintf("%q is not the name of a service account", k.ServiceAccount), "")
		}
	}
}

func isUser(s string) bool {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return strconv.FormatUint(n, 10) == s
	}
	return len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' || r == '/' }) && !strings.HasPrefix(s, "-")
}

func cleanPath(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && p != "/" }

func isSHA256(s string) bool {
	return len(s) == 64 && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// Selectors is what a workload must show, by kind and name: "unix.path" to its value.
func (w Workload) Selectors() map[string]string {
	all := map[string]string{}
	add := func(name, value string) {
		if value != "" {
			all[name] = value
		}
	}
	if w.Unix != nil {
		add("unix.user", w.Unix.User)
		add("unix.path", w.Unix.Path)
		add("unix.sha256", w.Unix.SHA256)
	}
	if w.Container != nil {
		add("container.image", w.Container.Image)
		for label, value := range w.Container.Labels {
			all["container.labels."+label] = value
		}
	}
	if w.Kubernetes != nil {
		add("kubernetes.namespace", w.Kubernetes.Namespace)
		add("kubernetes.service_account", w.Kubernetes.ServiceAccount)
	}
	return all
}

// claim is one workload of one service, for comparing with the others.
type claim struct {
	service, key string
	order        int
	shows        map[string]string
}

// ambiguous reports workloads of several services that the same process could be: it would get no identity at
// all. Claims are grouped by the selectors they name, so that comparing stays cheap with thousands of services.
func (c *checker) ambiguous() {
	groups := map[string][]claim{}
	order := 0
	for _, name := range c.services {
		for i, w := range c.Fleet.Services[name].Workloads {
			shows := w.Selectors()
			if len(shows) == 0 {
				continue
			}
			signature := strings.Join(sortedKeys(shows), "\n")
			order++
			groups[signature] = append(groups[signature], claim{name, index(join("services", name)+".workloads", i), order, shows})
		}
	}
	said := map[string]bool{} // by key of the claim: one finding each is enough
	for _, wide := range sortedKeys(groups) {
		for _, narrow := range sortedKeys(groups) {
			c.compare(groups[wide], groups[narrow], said)
		}
	}
}

// compare reports where a workload of one group can be one of the other. The selectors both name tell them apart
// or do not; a group that names no others matches all that the other group does.
func (c *checker) compare(wide, narrow []claim, said map[string]bool) {
	a, b := sortedKeys(wide[0].shows), sortedKeys(narrow[0].shows)
	common := slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
	implied := len(common) == len(a)
	if !implied && (len(common) == len(b) || !sameKind(a, b) || slices.Compare(a, b) > 0) {
		return // the other way round, or not to be compared
	}
	values := func(k claim) string {
		var out strings.Builder
		for _, s := range common {
			out.WriteString(quote(k.shows[s]))
		}
		return out.String()
	}
	by := make(map[string][]claim, len(wide))
	for _, k := range wide {
		by[values(k)] = append(by[values(k)], k)
	}
	for _, k := range narrow {
		i := slices.IndexFunc(by[values(k)], func(o claim) bool {
			return o.key != k.key && (len(a) != len(b) || o.order < k.order) && (implied || o.service != k.service)
		})
		if i >= 0 {
			c.clash(by[values(k)][i], k, implied, said)
		}
	}
}

// clash words what two claims have in common, at the one that stands later.
func (c *checker) clash(other, k claim, implied bool, said map[string]bool) {
	if said[k.key] {
		return
	}
	said[k.key] = true
	f := Finding{Position: c.at(k.key), Key: k.key, Other: c.at(other.key), Severity: Warning}
	switch {
	case other.service == k.service:
		f.Code, f.Text, f.Hint = "no-effect", "whatever matches this already matches "+other.key, "remove one of them"
	case implied:
		f.Severity, f.Code = Error, "ambiguous-workload"
		f.Text = fmt.Sprintf("whatever matches this matches %q too, so it would get no identity", other.service)
		f.Hint = "add a selector that tells them apart, such as unix.path"
	default:
		f.Code = "overlapping-workloads"
		f.Text = fmt.Sprintf("a workload can match this and %q, and would get no identity", other.service)
		f.Hint = "name one selector in both, with different values"
	}
	c.found = append(c.found, f)
}

// sameKind tells whether two lists of selectors speak of the same sort of thing. A process on a host and one in
// a pod are told apart by where they are attested.
func sameKind(a, b []string) bool {
	kinds := func(list []string) map[string]bool {
		out := map[string]bool{}
		for _, s := range list {
			kind, _, _ := strings.Cut(s, ".")
			out[kind] = true
		}
		return out
	}
	left, right := kinds(a), kinds(b)
	return slices.ContainsFunc(slices.Collect(maps.Keys(left)), func(k string) bool { return right[k] })
}
