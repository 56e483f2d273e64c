package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/app/observe"
	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/store/shared"
)

// auditedPlace is the ledger of the state directory; if a store is named, as env:NAME or file:PATH, that in the PostgreSQL there. The func
// that is returned ends its use.
func (o *Options) auditedPlace(ctx context.Context, store string) (audit.Place, func() error, error) {
	none := func() error { return nil }
	if store != "" {
		s, err := sharedStore(ctx, store)
		if err != nil {
			return audit.Place{}, none, err
		}
		return audit.Place{Shared: s}, s.Close, nil
	}
	state, err := o.state()
	if err != nil {
		return audit.Place{}, none, err
	}
	at := audited(state)
	if _, err := os.Stat(at.Ledger); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("no ledger in %s; palisade up and control begin one in their state directory, name that with --state", state)
		if _, shared := os.Stat(seenDir(state)); shared == nil {
			err = fmt.Errorf("the control of %s keeps its ledger in the PostgreSQL that it shares; name that with --store env:NAME or --store file:PATH, as mesh.control.store of its model does", state)
		}
		return at, none, err
	}
	return at, none, nil
}

// sharedStore opens the store that several controls share, to read it.
func sharedStore(ctx context.Context, reference string) (*shared.Store, error) {
	var v model.Value
	switch kind, name, _ := strings.Cut(reference, ":"); {
	case kind == "env" && name != "":
		v.FromEnv = name
	case kind == "file" && name != "":
		v.FromFile = name
	default: // it may be a location with a password, and is not shown
		return nil, errors.New("--store: name where the location of PostgreSQL stands, as env:NAME or file:PATH")
	}
	location, err := v.Resolve(os.LookupEnv)
	if err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	s, err := shared.Look(ctx, location)
	if err != nil {
		return nil, fmt.Errorf("--store: %w", err)
	}
	return s, nil
}

// AuditVerify verifies an export in a folder, or the state directory or the store that is named if dir is empty, and prints what it found.
// Exact is false if something is wrong; the error says that it could not be told.
func AuditVerify(ctx context.Context, o *Options, dir, store string, since time.Time, t *audit.Trust) (exact bool, err error) {
	var r *audit.Result
	if dir != "" {
		if !since.IsZero() || store != "" {
			return false, errors.New("--since chooses among the records of a state directory or a --store; an export is verified as a whole")
		}
		r, err = audit.VerifyExport(ctx, dir, t)
	} else {
		at, end, wrong := o.auditedPlace(ctx, store)
		defer func() { err = errors.Join(err, end()) }()
		if err = wrong; err == nil {
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

// AuditExport writes records of the state directory, or of the store that is named, with what proves them into a new folder. Earlier
// names a file with an earlier checkpoint; empty: none.
func AuditExport(ctx context.Context, o *Options, store string, part audit.Part, earlier, out string) (err error) {
	at, end, err := o.auditedPlace(ctx, store)
	defer func() { err = errors.Join(err, end()) }()
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

// servedLedger is the ledger below a URL. With a trust bundle, control serves it; otherwise anybody whom the authorities of this host know.
func (o *Options) servedLedger(prefix string) (*audit.Served, error) {
	if o.Reach.Bundle == "" {
		return audit.NewServed(prefix, nil)
	}
	config, err := o.Reach.control()
	if err != nil {
		return nil, err
	}
	return audit.NewServed(prefix, config)
}

// AuditWitness signs the checkpoint of a ledger in a folder, below a URL, or in the store that is named, once or again after each pause
// until ctx ends.
func AuditWitness(ctx context.Context, o *Options, dir, store, own, name, key string, every time.Duration) (err error) {
	at := audit.Place{Ledger: dir}
	switch {
	case (dir == "") == (store == ""):
		return errors.New("name one ledger: a folder, a URL, or --store")
	case o.Reach.Bundle != "" && !strings.Contains(dir, "://"):
		return errors.New("--bundle says how control is known that serves a ledger; name its URL, such as https://control.shop.example:9950/v1/ledger")
	case strings.Contains(dir, "://"):
		if at.Served, err = o.servedLedger(dir); err != nil {
			return err
		}
		defer at.Served.Close()
	case store != "":
		var end func() error
		if at, end, err = o.auditedPlace(ctx, store); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	for {
		signed, err := audit.Witness(ctx, at, own, name, key)
		if errors.Is(err, ledger.ErrForked) || errors.Is(err, ledger.ErrRolledBack) {
			return fmt.Errorf("not signed: %w: keep %s as it is; its files last and refused are the proof, with a copy of the ledger", err, own)
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
