package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// judge holds records against leaves.
type judge struct {
	*Report
	evidence *Evidence
	leaves   span
	next     uint64 // number that the next record should have
	broken   bool   // a record is not what it should be: those behind it may only have moved
	gone     []hole
	damages  []damage
	told     []Deletion // by the last record that says what was deleted
	toldBy   uint64
}

// hole is numbers that no record has.
type hole struct{ first, last uint64 }

// damage is records that cannot be read.
type damage struct {
	*DamageError
	open   bool   // Last is not known yet: it is before the next record
	first  uint64 // lowest number that is laid to it; 0: none
	number uint64 // how many are
}

// has tells whether one more number may be of it.
func (d *damage) has(n uint64) bool {
	return d.First <= n && n <= d.Last && (d.Most == 0 || d.number < d.Most)
}

// unread lays a number that no record has to what cannot be read, if it may be of that.
func (j *judge) unread(n uint64) bool {
	for i := range j.damages {
		if d := &j.damages[i]; d.has(n) {
			d.first, d.number = cmp.Or(d.first, n), d.number+1
			return true
		}
	}
	return false
}

// damaged takes note of records that cannot be read.
func (j *judge) damaged(d DamageError) {
	open := d.First == 0
	if open {
		d.First = j.next
	}
	j.damages = append(j.damages, damage{DamageError: &d, open: open})
}

// until ends what cannot be read and of which the end was not known: another record comes, or none.
func (j *judge) until(next uint64) {
	for i := range j.damages {
		if d := &j.damages[i]; d.open {
			d.open, d.Last = false, max(next, 1)-1
		}
	}
}

// unreadable says what cannot be read.
func (j *judge) unreadable() {
	for _, d := range j.damages {
		f := Finding{Kind: Unreadable, Number: cmp.Or(d.first, d.First), Count: d.number, Text: d.Text}
		if d.number > 0 {
			f.Text = fmt.Sprintf("%d records from %d on cannot be read: %s", d.number, d.first, d.Text)
		}
		j.Findings = append(j.Findings, f)
	}
}

// records holds each record against its leaf. Behind the first that is another it looks only for what says what was deleted.
func (j *judge) records(ctx context.Context) error {
	next, stop := iter.Pull2(j.evidence.Records)
	defer stop()
	for {
		record, err, more := next()
		if !more {
			break
		}
		if damage, ok := errors.AsType[*DamageError](err); ok {
			j.damaged(*damage)
			continue
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("reading the record behind %d: %w", j.next-1, err)
		}
		j.until(record.Number)
		if err := j.record(&record, next); err != nil {
			return err
		}
	}
	j.until(j.Last + 1)
	if !j.broken && j.next <= j.Last {
		j.gone = append(j.gone, hole{j.next, j.Last})
	}
	return nil
}

// record judges one record.
func (j *judge) record(r *Record, next func() (Record, error, bool)) error {
	got := leaf(HashOf(r.Data))
	want := j.leaves.at(r.Number - 1)
	switch {
	case j.broken:
		if bytes.Equal(got, want) {
			j.listen(r)
		}
		return nil
	case r.Number < j.next:
		f := Finding{Kind: Inserted, Number: j.next, Count: 1, Text: fmt.Sprintf("behind record %d stands one that says it is number %d", j.next-1, r.Number)}
		if bytes.Equal(got, want) {
			f.Kind, f.Count = Reordered, 0
			if at := slices.IndexFunc(j.gone, func(h hole) bool { return h.first <= r.Number && r.Number <= h.last }); at >= 0 {
				h := j.gone[at]
				f.Number, f.Text = h.first, fmt.Sprintf("record %d stands where record %d should: record %d stands behind %d", h.last+1, h.first, r.Number, j.next-1)
				j.gone = slices.Delete(j.gone, at, at+1)
			}
		}
		j.broken, j.Findings = true, append(j.Findings, f)
		return nil
	case r.Number > j.Last:
		if j.next <= j.Last {
			j.gone = append(j.gone, hole{j.next, j.Last})
		}
		if r.Number > j.Checkpoint.Size {
			j.Beyond++
		}
		j.next = r.Number + 1
		return nil
	case r.Number > j.next:
		j.gone = append(j.gone, hole{j.next, r.Number - 1})
	}
	j.next = r.Number + 1
	if bytes.Equal(got, want) {
		j.Verified++
		j.listen(r)
		return nil
	}
	j.broken = true
	f, err := j.differ(r.Number, got, next)
	j.Findings = append(j.Findings, f)
	return err
}

// listen takes note of what a record that the ledger vouches for says about others.
func (j *judge) listen(r *Record) {
	if j.evidence.Deletions == nil || r.Number <= j.toldBy {
		return
	}
	if told := j.evidence.Deletions(r.Data); told != nil {
		j.told, j.toldBy = told, r.Number
	}
}

// elsewhere holds records that are not among the others against their leaves.
func (j *judge) elsewhere(ctx context.Context) error {
	for i := range j.evidence.Elsewhere {
		r := &j.evidence.Elsewhere[i]
		if r.Number == 0 || r.Number > j.Checkpoint.Size {
			continue // the checkpoint does not tell of it yet
		}
		one, err := j.evidence.Tree.authenticate(ctx, j.Checkpoint.Size, j.Checkpoint.Root, r.Number-1, r.Number)
		if damage, ok := errors.AsType[*tileError](err); ok {
			j.Findings = append(j.Findings, Finding{Kind: Tiles, Number: r.Number, Tile: damage.path, Text: damage.text})
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the tree: %w", err)
		}
		if !bytes.Equal(leaf(HashOf(r.Data)), one.at(r.Number-1)) {
			j.Findings = append(j.Findings, Finding{Kind: Altered, Number: r.Number, Text: fmt.Sprintf("record %d: the record is not the one that was written", r.Number)})
			continue
		}
		j.listen(r)
	}
	return nil
}

// holes judges numbers that no record has: the ledger knows that the record was gone before it came, or has a record which says that
// it was deleted, or it cannot be read, or it is missing.
func (j *judge) holes() {
	unseen := leaf(Hash{})
	slices.SortStableFunc(j.damages, func(a, b damage) int { return cmp.Compare(a.Last, b.Last) }) // so that none takes what only another can have
	missing, deleted, first := uint64(0), uint64(0), hole{}
	for _, h := range j.gone {
		for n := h.first; n <= h.last; n++ {
			switch {
			case bytes.Equal(j.leaves.at(n-1), unseen):
				j.Unseen++
			case j.unread(n): // before what was deleted between them: there are at most so many, and what is left over was deleted
			case slices.ContainsFunc(j.told, func(d Deletion) bool { return d.First <= n && n <= d.Last }):
				deleted++
			default:
				if missing++; first.first == 0 || n == first.last+1 {
					first = hole{cmp.Or(first.first, n), n}
				}
			}
		}
	}
	if missing > 0 {
		f := Finding{Kind: Missing, Number: first.first, Count: first.last - first.first + 1}
		f.Text = fmt.Sprintf("record %d is gone", f.Number)
		if f.Count > 1 {
			f.Text = fmt.Sprintf("records %d to %d are gone", f.Number, first.last)
		}
		if first.last == j.Checkpoint.Size {
			f.Kind = Truncated
			f.Text = fmt.Sprintf("the records end before %d, and the checkpoint tells of %d", f.Number, j.Checkpoint.Size)
		}
		if missing > f.Count {
			f.Text += fmt.Sprintf(", and %d more", missing-f.Count)
		}
		f.Text += "; nothing in the ledger says that they were deleted for their age"
		j.Findings = append(j.Findings, f)
	}
	may := uint64(0)
	for _, d := range j.told {
		may += d.Count
	}
	j.Deleted = min(deleted, may)
	if deleted > may {
		at := slices.IndexFunc(j.gone, func(h hole) bool {
			return slices.ContainsFunc(j.told, func(d Deletion) bool { return d.First <= h.last && h.first <= d.Last })
		})
		j.Findings = append(j.Findings, Finding{Kind: Missing, Number: j.gone[at].first, Count: deleted - may, Text: fmt.Sprintf(
			"%d records are gone from record %d on, and the ledger says that %d were deleted for their age: %d are missing, and it cannot be told which",
			deleted, j.gone[at].first, may, deleted-may)})
	}
}

// ahead is how far is looked to tell what has happened.
const ahead = 1024

// differ tells why the record of a number is another: whether it stands elsewhere in the ledger, and the one that should be there
// elsewhere among the records.
func (j *judge) differ(number uint64, got []byte, next func() (Record, error, bool)) (Finding, error) {
	var coming [][]byte
	for range ahead {
		record, err, more := next()
		if !more {
			break
		}
		if _, damaged := errors.AsType[*DamageError](err); damaged {
			continue
		}
		if err != nil {
			return Finding{}, fmt.Errorf("reading the record behind %d: %w", number+uint64(len(coming)), err)
		}
		hash := leaf(HashOf(record.Data))
		coming = append(coming, hash)
		if bytes.Equal(hash, j.leaves.at(record.Number-1)) {
			j.listen(&record)
		}
	}
	rest := j.leaves.hashes[min(number-j.leaves.from, uint64(len(j.leaves.hashes))):]
	from := find(rest[:min(len(rest), ahead)], got)
	to := find(coming, j.leaves.at(number-1))
	f := Finding{Number: number}
	switch {
	case from > 0 && to > 0:
		f.Kind, f.Text = Reordered, fmt.Sprintf("here stands record %d, and record %d stands %d behind it", number+from, number, to)
	case from > 0:
		f.Kind, f.Count, f.Text = Missing, from, fmt.Sprintf("here stands record %d: %d before it are gone", number+from, from)
	case to > 0:
		f.Kind, f.Count, f.Text = Inserted, to, fmt.Sprintf("here stands what the ledger does not have; record %d stands %d behind it", number, to)
	default:
		f.Kind, f.Text = Altered, "the record is not the one that was written"
	}
	f.Text = fmt.Sprintf("record %d: %s", number, f.Text)
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
