package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/transparency-dev/merkle/rfc6962"
)

// Kind is what is wrong.
type Kind string

// What can be wrong. Of records the first is named: what comes after it may only have moved.
const (
	Altered    Kind = "altered"     // a record is not what it was
	Missing    Kind = "missing"     // one or more records are gone
	Inserted   Kind = "inserted"    // one or more records were never there
	Reordered  Kind = "reordered"   // records have changed places
	Truncated  Kind = "truncated"   // the last records are gone
	Tiles      Kind = "tiles"       // the tree itself is damaged; Records tells whether the records are sound
	RolledBack Kind = "rolled-back" // the checkpoint is older than one before
	Forked     Kind = "forked"      // the checkpoint is of another history than one before
)

// Finding is something wrong.
type Finding struct {
	Kind     Kind   `json:"kind"`
	Position uint64 `json:"position"`        // of the first record that it is about
	Count    uint64 `json:"count,omitempty"` // of records missing or inserted, if that can be told
	Text     string `json:"text"`
}

// Evidence is what a ledger is verified by. Nothing of it is trusted but Keys, and Earlier as far as they vouch for it.
type Evidence struct {
	Keys       Keys
	Tree       Tree
	Checkpoint []byte
	Earlier    []byte                   // a checkpoint of before, kept elsewhere; may be nil
	First      uint64                   // position of the first record; those before are no longer kept
	Records    iter.Seq2[[]byte, error] // exact bytes, in order; read twice at most. An error ends the verification
}

// Report is what Verify found.
type Report struct {
	Checkpoint Checkpoint `json:"checkpoint"`
	Earlier    uint64     `json:"earlier,omitempty"` // size of the earlier checkpoint with which this one is consistent
	Verified   uint64     `json:"verified"`          // records that stand where the checkpoint says
	Beyond     uint64     `json:"beyond"`            // records after those that the checkpoint tells of: not judged
	Findings   []Finding  `json:"findings"`
}

// Sound tells whether nothing is wrong.
func (r *Report) Sound() bool { return len(r.Findings) == 0 }

// Verify proves, from files alone, that records are those and only those that a checkpoint commits to, in their order,
// and that the checkpoint follows an earlier one. What is wrong is a finding; an error means that it could not be told:
// no key vouches for a checkpoint, or records cannot be read. It takes 32 bytes of memory for each record of the ledger.
func Verify(ctx context.Context, e *Evidence) (*Report, error) {
	now, err := e.Keys.Checkpoint(e.Checkpoint)
	if err != nil {
		return nil, err
	}
	r := &Report{Checkpoint: *now, Findings: []Finding{}}
	if err := r.earlier(ctx, e, now); err != nil {
		return nil, err
	}
	leaves, err := e.Tree.authenticate(ctx, now.Size, now.Root)
	if damage, ok := errors.AsType[*tileError](err); ok {
		return r, r.withoutTiles(ctx, e, damage)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	return r, r.compare(ctx, e, leaves)
}

// earlier holds the checkpoint against one of before.
func (r *Report) earlier(ctx context.Context, e *Evidence, now *Checkpoint) error {
	if e.Earlier == nil {
		return nil
	}
	before, err := e.Keys.Checkpoint(e.Earlier)
	if err != nil {
		return fmt.Errorf("the earlier one: %w", err)
	}
	err = follows(ctx, e.Tree, before, now)
	switch {
	case errors.Is(err, ErrRolledBack):
		r.Findings = append(r.Findings, Finding{Kind: RolledBack, Position: now.Size, Count: before.Size - now.Size, Text: err.Error()})
	case err != nil:
		r.Findings = append(r.Findings, Finding{Kind: Forked, Position: min(before.Size, now.Size), Text: err.Error()})
	default:
		r.Earlier = before.Size
	}
	return nil
}

// withoutTiles is what can be told if the tree is damaged: whether all records, from the first one on, make the root.
func (r *Report) withoutTiles(ctx context.Context, e *Evidence, damage *tileError) error {
	f := Finding{Kind: Tiles, Text: damage.text}
	if e.First > 0 {
		f.Text += "; the records cannot be judged without it, for they do not begin with the first"
		r.Findings = append(r.Findings, f)
		return nil
	}
	tree := ranges().NewEmptyRange(0)
	for record, err := range e.Records {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("reading record %d: %w", tree.End(), err)
		}
		if tree.End() == r.Checkpoint.Size {
			r.Beyond++
			continue
		}
		if err := tree.Append(leaf(HashOf(record)), nil); err != nil {
			return err
		}
	}
	root := rfc6962.DefaultHasher.EmptyRoot()
	if tree.End() > 0 {
		var err error
		if root, err = tree.GetRootHash(nil); err != nil {
			return err
		}
	}
	if tree.End() == r.Checkpoint.Size && bytes.Equal(root, r.Checkpoint.Root) {
		r.Verified = r.Checkpoint.Size
		f.Text += "; the records are sound"
	} else {
		f.Text += fmt.Sprintf("; the %d records are not those of the checkpoint either, and without the tree it cannot be told which", tree.End())
	}
	r.Findings = append(r.Findings, f)
	return nil
}

// compare holds each record against its leaf, up to the first that is another.
func (r *Report) compare(ctx context.Context, e *Evidence, leaves [][]byte) error {
	next, stop := iter.Pull2(e.Records)
	defer stop()
	position := e.First
	for {
		record, err, more := next()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("reading record %d: %w", position, err)
		}
		size := uint64(len(leaves))
		switch {
		case !more && position < size:
			r.Findings = append(r.Findings, Finding{
				Kind: Truncated, Position: position, Count: size - position,
				Text: fmt.Sprintf("the records end at %d, and the checkpoint tells of %d", position, size),
			})
			return nil
		case !more:
			return nil
		case position >= size:
			r.Beyond++
			position++
			continue
		}
		got := leaf(HashOf(record))
		if !bytes.Equal(got, leaves[position]) {
			f, err := differ(position, got, leaves, next)
			if err == nil {
				r.Findings = append(r.Findings, f)
			}
			return err
		}
		r.Verified++
		position++
	}
}

// ahead is how far is looked to tell what has happened.
const ahead = 1024

// differ tells why the record at a position is another: whether it stands elsewhere in the ledger, and the one that
// should be there elsewhere among the records.
func differ(position uint64, got []byte, leaves [][]byte, next func() ([]byte, error, bool)) (Finding, error) {
	coming := [][]byte{}
	for range ahead {
		record, err, more := next()
		if err != nil {
			return Finding{}, fmt.Errorf("reading record %d: %w", position+uint64(len(coming))+1, err)
		}
		if !more {
			break
		}
		coming = append(coming, leaf(HashOf(record)))
	}
	rest := leaves[position+1:]
	from := find(rest[:min(len(rest), ahead)], got)
	to := find(coming, leaves[position])
	f := Finding{Position: position}
	switch {
	case from > 0 && to > 0:
		f.Kind, f.Text = Reordered, fmt.Sprintf("here stands record %d, and record %d stands at %d", position+from, position, position+to)
	case from > 0:
		f.Kind, f.Count, f.Text = Missing, from, fmt.Sprintf("here stands record %d: %d before it are gone", position+from, from)
	case to > 0:
		f.Kind, f.Count, f.Text = Inserted, to, fmt.Sprintf("here stands what the ledger does not have; record %d stands at %d", position, position+to)
	default:
		f.Kind, f.Text = Altered, "the record is not the one that was written"
	}
	f.Text = fmt.Sprintf("record %d: %s", position, f.Text)
	return f, nil
}

// find returns how many places ahead a hash stands, counted from 1; 0: not there.
func find(list [][]byte, hash []byte) uint64 {
	for i, h := range list {
		if bytes.Equal(h, hash) {
			return uint64(i) + 1
		}
	}
	return 0
}
