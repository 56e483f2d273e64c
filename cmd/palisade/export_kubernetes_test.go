package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// peer is one end of a connection, as cyclonus reads it.
type peer struct {
	IP       string
	Internal *podOf `json:",omitempty"` // nil: no pod of the cluster
}

type podOf struct {
	Namespace                  string
	NamespaceLabels, PodLabels map[string]string
}

// traffic is one question to cyclonus.
type traffic struct {
	Source, Destination peer
	ResolvedPort        int
	Protocol            string
}

// podIn is a pod of a namespace, with a label as "palisade export" expects it.
func podIn(namespace, label, name string) peer {
	return peer{"10.244.0.7", &podOf{namespace, map[string]string{"kubernetes.io/metadata.name": namespace}, map[string]string{label: name}}}
}

// TestExportKubernetes asks an evaluator of NetworkPolicies that others have written (cyclonus) about what the verb writes for
// the examples: of all that pods could send each other, exactly the declared edges pass.
func TestExportKubernetes(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves cyclonus out")
	}
	for fleet, c := range map[string]struct {
		port     int // of the edge
		declared []string
	}{
		"shop": {8443, []string{
			"palisade-edge web", "palisade-edge catalog", "palisade-edge orders", "palisade-edge payments",
			"web catalog", "orders catalog", "orders payments",
		}},
		"hotel": {8543, []string{
			"palisade-edge front", "palisade-edge rates", "front search", "front profiles", "front reservations",
			"search geo", "search rates", "reservations rates",
		}},
	} {
		t.Run(fleet, func(t *testing.T) {
			t.Parallel()
			asked, all := questions(fleet, c.declared)
			var passed []string
			for i, allowed := range evaluate(t, fleet, all) {
				if allowed {
					passed = append(passed, asked[i])
				}
			}
			want := expected(c.declared, c.port)
			slices.Sort(want)
			slices.Sort(passed)
			if !slices.Equal(passed, want) {
				less := func(of, than []string) string {
					return strings.Join(slices.DeleteFunc(slices.Clone(of), func(s string) bool { return slices.Contains(than, s) }), "\n")
				}
				t.Errorf("passes and should not:\n%s\nshould and does not:\n%s", less(passed, want), less(want, passed))
			}
		})
	}
}

const (
	world   = "world"
	cloud   = "metadata" // of a cloud, which knows its keys
	dns     = "kube-dns"
	foreign = "elsewhere" // a pod of another namespace with a label of ours
)

// parties are all that stands in declared edges.
func parties(declared []string) []string {
	var out []string
	for _, pair := range declared {
		out = append(out, strings.Fields(pair)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// questions are who may send to whom at which port, each in words, too.
func questions(fleet string, declared []string) (words []string, all []traffic) {
	const label = "app.kubernetes.io/name"
	ours := parties(declared)
	ends := map[string]peer{
		world: {IP: "9.9.9.9"}, cloud: {IP: "169.254.169.254"}, dns: podIn("kube-system", "k8s-app", dns), foreign: podIn("other", label, ours[0]),
		"stranger": podIn(fleet, label, "stranger"), "palisade-control": podIn(fleet, label, "palisade-control"),
	}
	for _, name := range ours {
		ends[name] = podIn(fleet, label, name)
	}
	for from, source := range ends {
		for to, destination := range ends {
			inside := func(p peer) bool { return p.Internal != nil && p.Internal.Namespace == fleet }
			if from == to || from == "palisade-control" || !inside(source) && !inside(destination) {
				continue // control goes where it must; what others do is their own affair
			}
			for _, port := range []int{53, 80, 443, 4222, 8443, 8543, 9101, 9301, 9443, 9950} {
				for _, protocol := range []string{"TCP", "UDP"} {
					words = append(words, fmt.Sprint(from, " ", to, " ", port, " ", protocol))
					all = append(all, traffic{source, destination, port, protocol})
				}
			}
		}
	}
	return words, all
}

// expected is what passes by the model: calls at the port of sidecars; for all of the fleet names, control and its bus; the edge from the world.
func expected(declared []string, port int) (out []string) {
	for _, pair := range declared {
		out = append(out, pair+" 9443 TCP")
	}
	for _, name := range parties(declared) {
		out = append(out, name+" "+dns+" 53 TCP", name+" "+dns+" 53 UDP", name+" palisade-control 9950 TCP", name+" palisade-control 4222 TCP")
	}
	for _, from := range []string{world, cloud, dns, foreign} {
		out = append(out, fmt.Sprint(from, " palisade-edge ", port, " TCP"))
	}
	return out
}

// evaluate writes policies with the verb, and returns what passes by them.
func evaluate(t *testing.T, fleet string, all []traffic) (passes []bool) {
	t.Helper()
	r := verb(t, nil, "export", "kubernetes", "../../examples/"+fleet)
	if r.code != exitOK {
		t.Fatalf("%+v", r)
	}
	dir := t.TempDir()
	policies := filepath.Join(dir, "policies")
	must(t, os.Mkdir(policies, 0o750))
	for i, document := range strings.Split(r.out, "---\n") {
		if i > 0 { // before the first there are comments alone
			must(t, os.WriteFile(filepath.Join(policies, fmt.Sprint(i, ".yaml")), []byte(document), 0o600))
		}
	}
	text, err := json.Marshal(all)
	must(t, err)
	questions := filepath.Join(dir, "traffic.json")
	must(t, os.WriteFile(questions, text, 0o600))
	find := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools.mod", "-n", "cyclonus")
	find.Dir = "../.."
	path, err := find.Output()
	if err != nil {
		t.Fatalf("cyclonus cannot be built: %v", err)
	}
	out, err := exec.CommandContext(t.Context(), strings.TrimSpace(string(path)), "analyze", "--mode=query-traffic", "--policy-path="+policies, "--traffic-path="+questions).CombinedOutput()
	if err != nil {
		t.Fatalf("cyclonus: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if cells := strings.Fields(line); strings.Contains(line, "IS ALLOWED?") {
			passes = append(passes, slices.Contains(cells, "TRUE"))
		}
	}
	if len(passes) != len(all) {
		t.Fatalf("%d answers to %d questions:\n%.2000s", len(passes), len(all), out)
	}
	return passes
}
