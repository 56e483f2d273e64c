package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/segment"
)

// Trust is what an auditor has that the other side does not.
type Trust struct {
	Key       string   // file with the public key of the ledger; empty: the key that lies beside what is verified
	Earlier   string   // file with a checkpoint of before; empty: none
	Witnesses []string // files with public keys of witnesses; all must have signed
}

// Result is what came of a verification.
type Result struct {
	*ledger.Report
	OwnKey bool `json:"own_key,omitempty"` // the key was the one that lies beside what was verified
}

// keys reads the keys and the earlier checkpoint.
func (t *Trust) keys(beside fs.FS) (k ledger.Keys, earlier []byte, err error) {
	k.Quorum = len(t.Witnesses)
	if t.Key == "" {
		k.Ledger, err = readKeyFrom(beside, keyFile)
	} else {
		k.Ledger, err = readKey(t.Key)
	}
	if err != nil {
		return k, nil, err
	}
	for _, one := range t.Witnesses {
		text, err := readSmall(one)
		var v note.Verifier
		if err == nil {
			v, err = ledger.NewWitnessVerifier(string(text))
		}
		if err != nil {
			return k, nil, fmt.Errorf("reading the key of a witness in %s: %w", one, err)
		}
		k.Witnesses = append(k.Witnesses, v)
	}
	if t.Earlier == "" {
		return k, nil, nil
	}
	if earlier, err = readSmall(t.Earlier); err != nil {
		return k, nil, fmt.Errorf("reading the earlier checkpoint: %w", err)
	}
	return k, earlier, nil
}

// evidence is what the files of a ledger say.
func (t *Trust) evidence(files fs.FS) (*ledger.Evidence, error) {
	keys, earlier, err := t.keys(files)
	if err != nil {
		return nil, err
	}
	text, err := readFrom(files, checkpointFile)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	text = mostSigned(&keys, files, text)
	return &ledger.Evidence{Keys: keys, Tree: ledger.Files(files), Checkpoint: text, Earlier: earlier, Deletions: deletions}, nil
}

// mostSigned is the checkpoint, or what witnesses were sent and have signed, which may be a minute older, if not enough have signed the newest and more
// have signed that.
func mostSigned(keys *ledger.Keys, files fs.FS, newest []byte) []byte {
	who := keys.WithoutQuorum()
	now, err := who.Checkpoint(newest)
	if err != nil || len(now.Witnesses) >= keys.Quorum {
		return newest
	}
	text, err := readFrom(files, witnessedFile)
	if err != nil {
		return newest
	}
	if before, err := who.Checkpoint(text); err == nil && len(before.Witnesses) > len(now.Witnesses) {
		return text
	}
	return newest
}

// VerifyExport verifies what Export wrote. The error says that it could not be told.
func VerifyExport(ctx context.Context, dir string, t *Trust) (*Result, error) {
	if err := isExport(dir); err != nil {
		return nil, err
	}
	e, err := t.evidence(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", dir, err)
	}
	text, err := readSmall(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if m.Version != manifestVersion || m.First == 0 || m.Last < m.First {
		return nil, fmt.Errorf("reading the manifest: it is of version %d, with records from %d to %d, and this reads version %d", m.Version, m.First, m.Last, manifestVersion)
	}
	e.First, e.Last, e.Records = m.First, m.Last, exported(filepath.Join(dir, recordsFile))
	elsewhere := filepath.Join(dir, deletionsFile)
	if _, err := os.Stat(elsewhere); !errors.Is(err, fs.ErrNotExist) {
		for r, err := range exported(elsewhere) {
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", deletionsFile, err)
			}
			if e.Elsewhere = append(e.Elsewhere, ledger.Record{Number: r.Number, Data: bytes.Clone(r.Data)}); len(e.Elsewhere) == maxElsewhere {
				break
			}
		}
	}
	return t.judge(ctx, e)
}

// isExport says what is wrong with a folder that cannot be an export, and what was meant.
func isExport(dir string) error {
	const state = "%s is no export; for the state directory there: palisade audit verify --state %s"
	below := filepath.Join(dir, ".palisade")
	switch {
	case !isThere(dir):
		return fmt.Errorf("%s is not there; name a folder that palisade audit export wrote", dir)
	case isThere(dir, manifestFile) || isThere(dir, checkpointFile):
		return nil
	case isThere(dir, "ledger"):
		return fmt.Errorf(state, dir, dir)
	case isThere(below):
		return fmt.Errorf(state, dir, below)
	}
	return fmt.Errorf("%s is no export: it has no %s; name a folder that palisade audit export wrote", dir, manifestFile)
}

// VerifyStore verifies the records of a place that keeps them, also while a process writes them. Since leaves out what came
// before; zero: all.
func VerifyStore(ctx context.Context, at Place, since time.Time, t *Trust) (*Result, error) {
	e, err := t.evidence(at.files(ctx)) // before the records: those that the checkpoint tells of are there
	if err != nil {
		return nil, err
	}
	e.Entries = at.Shared == nil
	e.First = 1
	look, end, err := at.look(ctx)
	if errors.Is(err, fs.ErrNotExist) && at.alone() {
		return t.gone(ctx, e, at.Store)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = end() }() // read only
	if !since.IsZero() {
		if e.First, _, err = look.Within(ctx, since, time.Time{}); err != nil {
			return nil, err
		}
	}
	e.Records = kept(ctx, look.Records, e.First)
	r, err := t.judge(ctx, e)
	if err != nil {
		return nil, err
	}
	if files, ok := look.(onDisk); ok {
		err = r.objects(files.Objects(ctx, e.First))
	}
	return r, err
}

// alone tells whether records are in the folder of the store and nowhere else.
func (p *Place) alone() bool {
	if p.Shared != nil || p.Bucket == nil {
		return p.Shared == nil
	}
	b, err := p.Bucket()
	return err == nil && b == nil
}

// gone is the verification of a ledger of which there is no store: all that it tells of is missing.
func (t *Trust) gone(ctx context.Context, e *ledger.Evidence, store string) (*Result, error) {
	e.Records = func(func(ledger.Record, error) bool) {}
	r, err := t.judge(ctx, e)
	if err != nil {
		return nil, err
	}
	for i := range r.Findings {
		if f := &r.Findings[i]; f.Kind == ledger.Truncated {
			f.Text = fmt.Sprintf("there is no store of events in %s: %s", store, f.Text)
		}
	}
	return r, nil
}

// objects adds what is wrong in the bucket and was not read for the records.
func (r *Result) objects(found iter.Seq2[uint64, error]) error {
	for number, err := range found {
		damage, damaged := errors.AsType[*segment.DamageError](err)
		if !damaged {
			return err
		}
		told := func(f ledger.Finding) bool {
			return f.Kind == ledger.Unreadable && strings.Contains(f.Text, damage.Name)
		}
		if !slices.ContainsFunc(r.Findings, told) {
			r.Findings = append(r.Findings, ledger.Finding{Kind: ledger.Unreadable, Number: number, Text: damage.Error()})
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b ledger.Finding) int { return cmp.Compare(a.Number, b.Number) })
	return nil
}

// maxElsewhere bounds records that an export has beside the others; it has one.
const maxElsewhere = 4

func (t *Trust) judge(ctx context.Context, e *ledger.Evidence) (*Result, error) {
	r, err := ledger.Verify(ctx, e)
	if err != nil {
		return nil, err
	}
	return &Result{r, t.Key == ""}, nil
}
