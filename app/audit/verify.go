package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/events"
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
func (t *Trust) keys(beside string) (ledger.Keys, []byte, error) {
	path := t.Key
	if path == "" {
		path = filepath.Join(beside, keyFile)
	}
	k := ledger.Keys{Quorum: len(t.Witnesses)}
	var err error
	if k.Ledger, err = readKey(path); err != nil {
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
	earlier, err := readSmall(t.Earlier)
	if err != nil {
		return k, nil, fmt.Errorf("reading the earlier checkpoint: %w", err)
	}
	return k, earlier, nil
}

// evidence is what a folder with tiles says.
func (t *Trust) evidence(dir string) (*ledger.Evidence, error) {
	keys, earlier, err := t.keys(dir)
	if err != nil {
		return nil, err
	}
	text, err := readSmall(filepath.Join(dir, checkpointFile))
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	return &ledger.Evidence{Keys: keys, Tree: ledger.Files(os.DirFS(dir)), Checkpoint: text, Earlier: earlier, Deletions: deletions}, nil
}

// VerifyExport verifies what Export wrote. The error says that it could not be told.
func VerifyExport(ctx context.Context, dir string, t *Trust) (*Result, error) {
	e, err := t.evidence(dir)
	if err != nil {
		return nil, err
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

// VerifyStore verifies the records of a machine that keeps them, from its files, also while a process writes them. Since
// leaves out what came before; zero: all.
func VerifyStore(ctx context.Context, at Place, since time.Time, t *Trust) (*Result, error) {
	e, err := t.evidence(at.Ledger) // before the records: those that the checkpoint tells of are there
	if err != nil {
		return nil, err
	}
	look, err := events.Peek(ctx, at.Store)
	if err != nil {
		return nil, err
	}
	defer func() { _ = look.Close() }() // read only
	e.First = 1
	if !since.IsZero() {
		e.First, _ = look.Within(since, time.Time{})
	}
	e.Records = kept(ctx, look.Records, e.First)
	return t.judge(ctx, e)
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
