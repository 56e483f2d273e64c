package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/palisade-security/palisade/model"
)

// corpusCase is one file of Cedar's integration corpus.
type corpusCase struct {
	Policies string `json:"policies"`
	Entities string `json:"entities"`
	Requests []struct {
		Description string           `json:"description"`
		Principal   cedar.EntityUID  `json:"principal"`
		Action      cedar.EntityUID  `json:"action"`
		Resource    cedar.EntityUID  `json:"resource"`
		Context     cedar.Record     `json:"context"`
		Decision    cedar.Decision   `json:"decision"`
		Reason      []cedar.PolicyID `json:"reason"`
		Errors      []cedar.PolicyID `json:"errors"`
	} `json:"requests"`
}

// corpusFiles unpacks the corpus that cedar-go ships with its source.
func corpusFiles(t *testing.T) map[string][]byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatalf("the module cache cannot be asked: %v", err)
	}
	packed, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatalf("cedar-go comes without its corpus: %v", err)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	archive := tar.NewReader(unzipped)
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[head.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCorpus holds the index to the decisions, reasons and errors of Cedar's reference implementation.
func TestCorpus(t *testing.T) {
	files := corpusFiles(t)
	cases, decisions := 0, 0
	for name, content := range files {
		if !strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".entities.json") {
			continue
		}
		var c corpusCase
		if err := json.Unmarshal(content, &c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var entities cedar.EntityMap
		if err := json.Unmarshal(files[c.Entities], &entities); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rules := corpusRules(t, name, files[c.Policies])
		x := newIndex(rules)
		cases++
		for i := range c.Requests {
			r := &c.Requests[i]
			on := append(x.ofKind(r.Resource.Type), x.named(r.Resource, ancestors(entities, r.Resource))...)
			slices.SortFunc(on, compareRules)
			cell := newCell(on, method{action: r.Action, groups: ancestors(entities, r.Action)}, func(*rule) bool { return true })
			candidates := cell.candidates(nil, r.Principal, ancestors(entities, r.Principal))
			o := evaluate(candidates, entities, cedar.Request{
				Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context,
			})
			allow, reasons, failed := corpusOutcome(&o)
			slices.Sort(r.Reason)
			slices.Sort(r.Errors)
			if allow != bool(r.Decision) || !slices.Equal(reasons, r.Reason) || !slices.Equal(failed, r.Errors) {
				t.Errorf("%s, %s: got %v %q failed %q, want %v %q failed %q",
					name, r.Description, allow, reasons, failed, r.Decision, r.Reason, r.Errors)
			}
			decisions++
		}
	}
	if cases < 7000 {
		t.Errorf("the corpus has %d cases; it should have thousands", cases)
	}
	t.Logf("%d cases, %d decisions", cases, decisions)
}

func corpusRules(t *testing.T, name string, text []byte) []*rule {
	t.Helper()
	list, err := cedar.NewPolicyListFromBytes(name, text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var rules []*rule
	for i, p := range list {
		rules = append(rules, newRule("policy"+strconv.Itoa(i), i, (*xast.Policy)(p.AST()), model.Position{}, ""))
	}
	return rules
}

// corpusOutcome is Cedar's own verdict, in which a failed policy is skipped.
func corpusOutcome(o *outcome) (allow bool, reasons, failed []cedar.PolicyID) {
	effect := cedar.Permit
	if o.forbids > 0 {
		effect = cedar.Forbid
	}
	for _, r := range o.matched {
		if r.effect == effect {
			reasons = append(reasons, cedar.PolicyID(r.id))
		}
	}
	for _, f := range o.failed {
		failed = append(failed, cedar.PolicyID(f.rule.id))
	}
	slices.Sort(reasons)
	slices.Sort(failed)
	return len(reasons) > 0 && effect == cedar.Permit, reasons, failed
}
