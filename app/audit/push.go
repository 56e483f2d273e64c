package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/palisade-security/palisade/ledger"
	"github.com/palisade-security/palisade/store/shared"
)

// witnessedFile is the newest checkpoint with the signatures of the witnesses that were asked for them.
const witnessedFile = "witnessed"

const (
	pushEvery = time.Minute     // how often witnesses are asked
	pushSoon  = 2 * time.Second // while the ledger has no checkpoint
)

// Pusher has witnesses sign what a ledger has come to, and keeps it with their signatures.
type Pusher struct {
	Witnesses []*ledger.Remote
	Log       *slog.Logger

	key    note.Verifier     // of the ledger; nil: it was not read yet
	kept   []byte            // the last that was kept
	signed map[string]uint64 // of how many records the last was that a witness signed, by its name
	failed map[string]string // why one does not sign, so that it is told once
}

// Run asks until ctx ends. Neither recording nor appending waits for it.
func (p *Pusher) Run(ctx context.Context, at *Place) {
	p.key, p.kept, p.signed, p.failed = nil, nil, map[string]uint64{}, map[string]string{}
	for {
		pause := pushEvery
		err := p.push(ctx, at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			pause = pushSoon
		case err != nil && ctx.Err() == nil:
			p.Log.WarnContext(ctx, "witnesses cannot be asked", "error", err, "again_in", pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// begin reads the key of the ledger, and what was kept before.
func (p *Pusher) begin(ctx context.Context, at *Place) (err error) {
	files := at.files(ctx)
	if p.key, err = readKeyFrom(files, keyFile); err != nil {
		return err
	}
	text, err := readFrom(files, witnessedFile)
	if err != nil {
		return nil //nolint:nilerr // there is none, or a better one comes
	}
	if c, err := p.keys().Checkpoint(text); err == nil {
		p.kept = text
		for _, name := range c.Witnesses {
			p.signed[name] = c.Size
		}
	}
	return nil
}

func (p *Pusher) keys() *ledger.Keys {
	k := &ledger.Keys{Ledger: p.key}
	for _, w := range p.Witnesses {
		k.Witnesses = append(k.Witnesses, w.Key)
	}
	return k
}

// push asks all witnesses at once to sign the newest checkpoint, and keeps it unless fewer have signed it than the one before. The error wraps
// fs.ErrNotExist while there is none.
func (p *Pusher) push(ctx context.Context, at *Place) error {
	if p.key == nil {
		if err := p.begin(ctx, at); err != nil {
			return err
		}
	}
	tree := at.tree(ctx)
	text, err := tree.Newest(ctx)
	if err != nil {
		return err
	}
	now, err := p.keys().Checkpoint(text)
	if err != nil {
		return err
	}
	before := &ledger.Checkpoint{}
	if p.kept != nil {
		if before, err = p.keys().Checkpoint(p.kept); err != nil {
			return err
		}
	}
	if before.Size == now.Size && len(before.Witnesses) == len(p.Witnesses) {
		return nil
	}
	next := p.ask(ctx, tree, text, now.Size)
	signed, err := p.keys().Checkpoint(next)
	if err != nil || len(signed.Witnesses) == 0 || len(signed.Witnesses) < len(before.Witnesses) {
		return err
	}
	if err := at.keepWitnessed(ctx, next); err != nil {
		return fmt.Errorf("keeping what witnesses have signed: %w", err)
	}
	p.kept = next
	return nil
}

// ask returns a checkpoint with the signatures that come.
func (p *Pusher) ask(ctx context.Context, tree ledger.Tree, text []byte, size uint64) []byte {
	lines, errs := make([][]byte, len(p.Witnesses)), make([]error, len(p.Witnesses))
	var all sync.WaitGroup
	for i, w := range p.Witnesses {
		known := p.signed[w.Key.Name()]
		all.Go(func() {
			signed, err := w.Cosign(ctx, p.key, tree, known, text)
			if errs[i] = err; err == nil {
				lines[i] = signed[len(text):]
			}
		})
	}
	all.Wait()
	for i, w := range p.Witnesses {
		name := w.Key.Name()
		if errs[i] == nil {
			p.signed[name] = size
		}
		p.tell(ctx, name, errs[i])
	}
	return slices.Concat(append([][]byte{text}, lines...)...)
}

// tell says what has changed about a witness.
func (p *Pusher) tell(ctx context.Context, name string, err error) {
	was, failed := p.failed[name]
	switch {
	case err == nil && failed:
		delete(p.failed, name)
		p.Log.InfoContext(ctx, "the witness signs again", "witness", name)
	case err != nil && ctx.Err() == nil && was != err.Error():
		p.failed[name] = err.Error()
		p.Log.WarnContext(ctx, "the witness does not sign", "witness", name, "error", err)
	}
}

// keepWitnessed keeps what witnesses have signed beside the tiles of a ledger, durably.
func (p *Place) keepWitnessed(ctx context.Context, checkpoint []byte) error {
	if p.Shared != nil {
		return p.Shared.Put(ctx, shared.Ledger, witnessedFile, checkpoint)
	}
	return replace(filepath.Join(p.Ledger, witnessedFile), checkpoint)
}
