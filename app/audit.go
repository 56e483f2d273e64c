package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/ledger"
)

// auditedPlace is the ledger of the state directory.
func (o *Options) auditedPlace() (audit.Place, error) {
	state, err := o.state()
	if err != nil {
		return audit.Place{}, err
	}
	at := audited(state)
	if _, err := os.Stat(at.Ledger); errors.Is(err, fs.ErrNotExist) {
		return at, fmt.Errorf("no ledger in %s; palisade up and control begin one in their state directory, name that with --state", state)
	}
	return at, nil
}

// AuditVerify verifies an export in a folder, or the state directory if dir is empty, and prints what it found. Exact is false if
// something is wrong; the error says that it could not be told.
func AuditVerify(ctx context.Context, o *Options, dir string, since time.Time, t *audit.Trust) (exact bool, err error) {
	var r *audit.Result
	if dir != "" {
		if !since.IsZero() {
			return false, errors.New("--since chooses among the records of a state directory; an export is verified as a whole")
		}
		r, err = audit.VerifyExport(ctx, dir, t)
	} else {
		var at audit.Place
		if at, err = o.auditedPlace(); err == nil {
			r, err = audit.VerifyStore(ctx, at, since, t)
		}
	}
	if err != nil {
		return false, fmt.Errorf("not verified: %w", err)
	}
	if o.JSON {
		return r.Sound(), writeJSON(o.Out, r)
	}
	return r.Sound(), o.showVerified(r)
}

// showVerified prints what a verification found for people.
func (o *Options) showVerified(r *audit.Result) error {
	st := o.style()
	c := &r.Checkpoint
	fmt.Fprintf(o.Out, "ledger   %s, checkpoint of %d records", observe.Printable(c.Origin), c.Size)
	for _, w := range c.Witnesses {
		fmt.Fprintf(o.Out, ", witnessed by %s", observe.Printable(w))
	}
	fmt.Fprintln(o.Out)
	if r.Earlier > 0 {
		fmt.Fprintf(o.Out, "earlier  the checkpoint of %d records is of the same history\n", r.Earlier)
	}
	fmt.Fprintf(o.Out, "records  %d to %d: %d verified", r.First, r.Last, r.Verified)
	for _, part := range []struct {
		n    uint64
		what string
	}{{r.Deleted, "deleted for their age, as the ledger says"}, {r.Unseen, "gone before the ledger saw them"}, {r.Beyond, "newer than the checkpoint, not judged"}} {
		if part.n > 0 {
			fmt.Fprintf(o.Out, ", %d %s", part.n, part.what)
		}
	}
	fmt.Fprintln(o.Out)
	if r.OwnKey {
		fmt.Fprintln(o.Err, "warning: the key lies beside what it proves, and who alters one can alter both; name one that you have from elsewhere with --key")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(o.Out, "%s  %s\n", st.Paint(observe.Bad, string(f.Kind)), observe.Printable(f.Text))
	}
	verdict := st.Paint(observe.Good, "sound")
	if !r.Sound() {
		verdict = st.Paint(observe.Bad, "not sound")
	}
	_, err := fmt.Fprintln(o.Out, verdict)
	return err
}

// AuditExport writes records of the state directory with what proves them into a new folder. Earlier names a file with an earlier
// checkpoint; empty: none.
func AuditExport(ctx context.Context, o *Options, part audit.Part, earlier, out string) error {
	at, err := o.auditedPlace()
	if err != nil {
		return err
	}
	var before []byte
	if earlier != "" {
		if before, err = os.ReadFile(earlier); err != nil {
			return fmt.Errorf("reading the earlier checkpoint: %w", err)
		}
	}
	m, err := audit.Export(ctx, at, part, before, out)
	if err != nil {
		return err
	}
	if o.JSON {
		return writeJSON(o.Out, m)
	}
	_, err = fmt.Fprintf(o.Out, "%d records, of numbers %d to %d, in %s; verify with palisade audit verify %s --key FILE\n", m.Records, m.First, m.Last, out, out)
	return err
}

// AuditWitness signs the checkpoint of a ledger in a folder, once or again after each pause until ctx ends.
func AuditWitness(ctx context.Context, o *Options, dir, own, name, key string, every time.Duration) error {
	for {
		signed, err := audit.Witness(ctx, dir, own, name, key)
		if errors.Is(err, ledger.ErrForked) || errors.Is(err, ledger.ErrRolledBack) {
			return fmt.Errorf("not signed: %w: keep %s and what you have signed, they are the proof", err, dir)
		}
		if err != nil && every == 0 {
			return err
		}
		if err == nil {
			_, err = o.Out.Write(signed)
		}
		if err != nil {
			fmt.Fprintf(o.Err, "not signed: %v\n", err)
		}
		if every == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}
