package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

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
	Unreadable Kind = "unreadable"  // records cannot be read where they are kept
	Tiles      Kind = "tiles"       // the tree itself is damaged; Records tells whether the records are sound
	RolledBack Kind = "rolled-back" // the checkpoint is older than one before
	Forked     Kind = "forked"      // the checkpoint is of another history than one before
)

// Finding is something wrong. Records have numbers from 1 on, in the order in which the ledger took them.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Number uint64 `json:"number,omitempty"` // of the first record that it is about
	Count  uint64 `json:"count,omitempty"`  // of records missing, inserted or unreadable, if that can be told
	Tile   string `json:"tile,omitempty"`   // path of the tile that it is about, in the folder of the ledger, if that can be told
	Text   string `json:"text"`
}

// Record is a record as it is kept, with the number that it is said to have.
type Record struct {
	Number uint64
	Data   []byte // exact bytes
}

// Deletion is how many records of a class were deleted since the beginning since they were old, and the numbers of the first
// and the last of them.
type Deletion struct {
	Class       string `json:"class"`
	Count       uint64 `json:"count"`
	First, Last uint64
}

// Evidence is what a ledger is verified by. Nothing of it is trusted but Keys, and Earlier as far as they vouch for it.
type Evidence struct {
	Keys       Keys
	Tree       Tree
	Checkpoint []byte
	Earlier    []byte // a checkpoint of before, kept elsewhere, which witnesses need not have signed; may be nil

	// Records are those of the numbers First to Last, in order; 0: from 1, to the last that the checkpoint tells of. They are read
	// twice at most. A *DamageError is a finding, and reading goes on; any other error ends the verification.
	Records     iter.Seq2[Record, error]
	First, Last uint64

	// Deletions reads what a record says about records that were deleted; nil if it says nothing. The last one that the ledger vouches
	// for says it for all before. Elsewhere are such records that are not among Records.
	Deletions func(record []byte) []Deletion
	Elsewhere []Record

	Entries bool // the tree has the hashes of records, too (tile/entries), as where it is written
}

// DamageError says that records cannot be read.
type DamageError struct {
	Text        string
	First, Last uint64 // numbers between which they are, with others; 0: between the record before and the one behind
	Most        uint64 // how many there are, at most; 0: not known
}

func (d *DamageError) Error() string { return d.Text }

// Report is what Verify found.
type Report struct {
	Checkpoint Checkpoint `json:"checkpoint"`
	Earlier    uint64     `json:"earlier,omitempty"` // size of the earlier checkpoint with which this one is consistent
	First      uint64     `json:"first"`             // what was judged: from this number
	Last       uint64     `json:"last"`              // to this one
	Verified   uint64     `json:"verified"`          // records that stand where the checkpoint says
	Deleted    uint64     `json:"deleted"`           // records that are not kept any more, as the ledger has recorded
	Unseen     uint64     `json:"unseen"`            // records that were gone before the ledger saw them, as it says itself
	Beyond     uint64     `json:"beyond"`            // records after those that the checkpoint tells of: not judged
	Findings   []Finding  `json:"findings"`
}

// Sound tells whether nothing is wrong.
func (r *Report) Sound() bool { return len(r.Findings) == 0 }

// Verify proves, from files alone, that records are those and only those that a checkpoint commits to, in their order,
// and that the checkpoint follows an earlier one. What is wrong is a finding; an error means that it could not be told:
// no key vouches for a checkpoint, or records cannot be read. It takes 32 bytes of memory for each record that is judged.
func Verify(ctx context.Context, e *Evidence) (*Report, error) {
	now, err := e.Keys.Checkpoint(e.Checkpoint)
	if err != nil {
		return nil, err
	}
	r := &Report{Checkpoint: *now, First: max(e.First, 1), Last: now.Size, Findings: []Finding{}}
	if e.Last > 0 {
		r.Last = min(e.Last, now.Size)
	}
	if err := r.earlier(ctx, e, now); err != nil {
		return nil, err
	}
	leaves, err := e.Tree.authenticate(ctx, now.Size, now.Root, r.First-1, r.Last)
	if damage, ok := errors.AsType[*tileError](err); ok {
		return r, r.withoutTiles(ctx, e, damage)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	if e.Entries {
		if err := r.entries(ctx, e.Tree, leaves); err != nil {
			return nil, err
		}
	}
	j := &judge{Report: r, evidence: e, leaves: leaves, next: r.First}
	if err := j.records(ctx); err != nil {
		return nil, err
	}
	if err := j.elsewhere(ctx); err != nil {
		return nil, err
	}
	j.holes()
	j.unreadable()
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(a.Number, b.Number) })
	return r, nil
}

// earlier holds the checkpoint against one of before.
func (r *Report) earlier(ctx context.Context, e *Evidence, now *Checkpoint) error {
	if e.Earlier == nil {
		return nil
	}
	before, err := e.Keys.WithoutQuorum().Checkpoint(e.Earlier)
	if err != nil {
		return fmt.Errorf("the earlier one: %w", err)
	}
	err = follows(ctx, e.Tree, before, now)
	damage, damaged := errors.AsType[*tileError](err)
	switch {
	case errors.Is(err, ErrRolledBack):
		r.Findings = append(r.Findings, Finding{Kind: RolledBack, Number: now.Size + 1, Count: before.Size - now.Size, Text: err.Error()})
	case errors.Is(err, ErrForked):
		r.Findings = append(r.Findings, Finding{Kind: Forked, Text: err.Error()})
	case damaged:
		r.Findings = append(r.Findings, Finding{Kind: Tiles, Tile: damage.path, Text: fmt.Sprintf(
			"whether this ledger goes on from the earlier checkpoint of %d records cannot be told: %s; %s, and an export has it if it was made with --earlier", before.Size, damage.text, mendTile)})
	case err != nil:
		return fmt.Errorf("holding the checkpoint against the earlier one: %w", err)
	default:
		r.Earlier = before.Size
	}
	return nil
}

// mendTile says what to do about a tile.
const mendTile = "put it back from another copy of the ledger, where it is the same"

// withoutTiles is what can be told if the tree is damaged: whether all records, from the first one on, make the root.
func (r *Report) withoutTiles(ctx context.Context, e *Evidence, damage *tileError) error {
	f := Finding{Kind: Tiles, Tile: damage.path, Text: damage.text}
	if damage.path != "" {
		f.Text += "; " + mendTile
	}
	if r.First > 1 || r.Last < r.Checkpoint.Size {
		f.Text += "; the records cannot be judged without it, for they are not all"
		r.Findings = append(r.Findings, f)
		return nil
	}
	tree := ranges().NewEmptyRange(0)
	for record, err := range e.Records {
		if _, damaged := errors.AsType[*DamageError](err); damaged {
			continue
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("reading record %d: %w", tree.End()+1, err)
		}
		if tree.End() == r.Checkpoint.Size {
			r.Beyond++
			continue
		}
		if err := tree.Append(leaf(HashOf(record.Data)), nil); err != nil {
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
