package app

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/palisade-security/palisade/model"
)

// atNextStart warns of what is set once, when a gateway starts: silence would let people believe it in force.
func (e *edge) atNextStart(snap *model.Snapshot) []model.Finding {
	was := e.started
	var out []model.Finding
	warn := func(key string, before, now any) {
		if !reflect.DeepEqual(before, now) {
			out = append(out, model.Finding{Severity: model.Warning, Code: "needs-restart", Key: key, Text: "this change takes effect at the next start"})
		}
	}
	warn("edge.admin", was.Edge.Admin, snap.Edge.Admin)
	warn("audit.dir", was.Audit.Dir, snap.Audit.Dir)
	warn("audit.keep", was.Audit.Keep, snap.Audit.Keep)
	warn("audit.pseudonyms", was.Audit.Pseudonyms, snap.Audit.Pseudonyms)
	warn("audit.bucket", was.Audit.Bucket, snap.Audit.Bucket)
	warn("audit.witnesses", was.Audit.Witnesses, snap.Audit.Witnesses)
	warn("mesh", was.Mesh, snap.Mesh)
	if e.intake != nil {
		warn("intake", e.intake.fixed, fixedOf(snap.Intake))
	}
	if e.development {
		was, now := commands(e.processes), commands(e.declared.Processes())
		for _, name := range slices.Sorted(maps.Keys(now)) {
			warn("services."+name+".run", was[name], now[name])
		}
		for _, name := range slices.Sorted(maps.Keys(was)) {
			if _, still := now[name]; !still {
				warn("services."+name, true, false)
			}
		}
	}
	return out
}

// otherDomain is the finding that a model is of another trust domain than what runs: roots, identities and the ledger are of
// that one, and half a change would have proxies refuse each other.
func otherDomain(declared *model.Declared, runs, now *model.Snapshot) *model.Finding {
	const key = "trust_domain"
	err := sameDomain(runs, now)
	if err == nil {
		return nil
	}
	return &model.Finding{
		Severity: model.Error, Code: "other-trust-domain", Position: declared.Place(key), Key: key, Text: err.Error(),
		Hint: fmt.Sprintf("write %q again; to begin anew under the other, end what runs and start it with a state directory of its own (--state)", runs.TrustDomain),
	}
}

// sameDomain holds that a model is for the fleet that runs.
func sameDomain(runs, now *model.Snapshot) error {
	if now.TrustDomain == runs.TrustDomain {
		return nil
	}
	return fmt.Errorf("the model is of trust domain %q, and the fleet of %q", now.TrustDomain, runs.TrustDomain)
}

// commands are processes by service, without their order, which matters at the next start only.
func commands(all []model.Process) map[string]model.Process {
	out := make(map[string]model.Process, len(all))
	for _, p := range all {
		p.After = nil
		out[p.Service] = p
	}
	return out
}
