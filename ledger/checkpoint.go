package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	f_log "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"
)

// Keys are those that make a checkpoint believable: the ledger's own, and enough witnesses'.
type Keys struct {
	Ledger    note.Verifier
	Witnesses []note.Verifier
	Quorum    int // how many witnesses must have signed; default none
}

// Checkpoint is a signed head of the tree.
type Checkpoint struct {
	Origin    string   `json:"origin"`
	Size      uint64   `json:"size"`
	Root      []byte   `json:"root"`
	Witnesses []string `json:"witnesses,omitempty"` // who signed, sorted
}

// mostCheckpoint bounds what is read: a head and some signatures.
const mostCheckpoint = 64 << 10

// Checkpoint reads a signed checkpoint, and refuses one that the keys do not vouch for.
func (k *Keys) Checkpoint(text []byte) (*Checkpoint, error) {
	if len(text) > mostCheckpoint {
		return nil, errors.New("reading a checkpoint: it is too long")
	}
	c, _, n, err := f_log.ParseCheckpoint(text, k.Ledger.Name(), k.Ledger, k.Witnesses...)
	if err != nil {
		return nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	out := &Checkpoint{Origin: c.Origin, Size: c.Size, Root: c.Hash}
	var lacks []string
	for _, w := range k.Witnesses {
		if slices.ContainsFunc(n.Sigs, func(s note.Signature) bool { return w.Name() == s.Name && w.KeyHash() == s.Hash }) {
			out.Witnesses = append(out.Witnesses, w.Name())
		} else {
			lacks = append(lacks, fmt.Sprintf("%.200q", w.Name()))
		}
	}
	slices.Sort(out.Witnesses)
	out.Witnesses = slices.Compact(out.Witnesses)
	if len(out.Witnesses) < k.Quorum {
		return nil, fmt.Errorf("reading a checkpoint: %d of %d witnesses have signed that of %d records, and %d must; not signed by: %s",
			len(out.Witnesses), len(k.Witnesses), out.Size, k.Quorum, cmp.Or(strings.Join(lacks, ", "), "one that is named twice"))
	}
	return out, nil
}

// WithoutQuorum are the same keys for a checkpoint that witnesses need not have signed: one that the reader kept, or one of which it is asked who has.
func (k *Keys) WithoutQuorum() *Keys { return &Keys{Ledger: k.Ledger, Witnesses: k.Witnesses} }

// Newest reads the checkpoint that lies beside the tiles.
func (t Tree) Newest(ctx context.Context) ([]byte, error) {
	text, err := t.read(ctx, layout.CheckpointPath)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	return text, nil
}

// Memory is where a witness keeps the last checkpoint that it signed. Keep returns when that is durable.
type Memory interface {
	Last() ([]byte, error) // nil if there is none
	Keep(checkpoint []byte) error
}

// Witness is the second party: it signs only heads of trees that begin with all that it signed before, so that a history
// that was written anew needs its key, too. It is safe for concurrent use.
type Witness struct {
	mu     sync.Mutex
	keys   Keys
	signer note.Signer
	memory Memory
}

// NewWitness makes a witness of one ledger.
func NewWitness(ledger note.Verifier, signer note.Signer, memory Memory) *Witness {
	return &Witness{keys: Keys{Ledger: ledger}, signer: signer, memory: memory}
}

// Errors of a witness and of Verify.
var (
	ErrRolledBack = errors.New("the checkpoint is of fewer records than one before")
	ErrForked     = errors.New("the checkpoint is of another history than one before")
)

// Cosign adds the witness's signature to a checkpoint whose tree it can see. ErrRolledBack and ErrForked say what is
// wrong with the ledger; then nothing is signed and nothing forgotten.
func (w *Witness) Cosign(ctx context.Context, t Tree, checkpoint []byte) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := follow(ctx, &w.keys, t, checkpoint, w.memory); err != nil {
		return nil, err
	}
	n, err := note.Open(checkpoint, note.VerifierList(w.keys.Ledger))
	if err != nil {
		return nil, fmt.Errorf("reading a checkpoint: %w", err)
	}
	signed, err := note.Sign(n, w.signer)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	if err := w.memory.Keep(checkpoint); err != nil { // first remembered, then given away
		return nil, fmt.Errorf("keeping the checkpoint: %w", err)
	}
	return signed, nil
}

// follow reads a checkpoint, and refuses one whose tree does not begin with that of the one remembered.
func follow(ctx context.Context, keys *Keys, t Tree, checkpoint []byte, memory Memory) (*Checkpoint, error) {
	now, err := keys.Checkpoint(checkpoint)
	if err != nil {
		return nil, err
	}
	last, err := memory.Last()
	if err != nil {
		return nil, fmt.Errorf("remembering the last checkpoint: %w", err)
	}
	if last == nil {
		return now, nil
	}
	before, err := keys.Checkpoint(last)
	if err != nil {
		return nil, fmt.Errorf("what is remembered: %w", err)
	}
	return now, follows(ctx, t, before, now)
}

// follows tells whether one checkpoint is of a tree that begins with another's.
func follows(ctx context.Context, t Tree, before, now *Checkpoint) error {
	switch {
	case now.Size < before.Size:
		return fmt.Errorf("%w: %d, then %d", ErrRolledBack, before.Size, now.Size)
	case now.Size == before.Size && slices.Compare(now.Root, before.Root) != 0:
		return fmt.Errorf("%w: two of %d records", ErrForked, now.Size)
	case now.Size == before.Size:
		return nil
	}
	return t.consistent(ctx, before, now)
}
