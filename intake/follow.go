package intake

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"
)

// Files are log files of this host.
type Files struct {
	Source   string                       // that is declared
	Patterns []string                     // absolute, as filepath.Match has them
	Format   string                       // docker, cri or lines
	Place    string                       // file in which it is kept how far each was read
	Failed   func(path string, err error) // is told of what cannot be read, once
}

// Bounds of following files.
const (
	followEvery = 500 * time.Millisecond
	mostFiles   = 1000
	mostReads   = 64 // of one file, before it is the turn of the next
)

// follower follows files.
type follower struct {
	in     *Intake
	files  Files
	places map[string]place // by path
	tails  map[string]*tail
	told   map[string]string // errors by path
}

// failed tells of an error, unless it was the last one of that file, too.
func (f *follower) failed(path string, err error) {
	if f.told[path] != err.Error() {
		f.told[path] = err.Error()
		f.files.Failed(path, err)
	}
}

// Follow takes what is written into files until ctx ends, rotated ones to their end. It goes on where it was before: what was taken in
// but not yet noted so, when the process died, comes again. A file that was never read is read from its beginning.
func (in *Intake) Follow(ctx context.Context, files Files) error {
	f := &follower{in: in, files: files, places: map[string]place{}, tails: map[string]*tail{}, told: map[string]string{}}
	if err := loadPlace(files.Place, &f.places); err != nil {
		return err
	}
	if f.places == nil { // null in the file
		f.places = map[string]place{}
	}
	defer f.close()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if err := f.pass(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (f *follower) close() {
	for _, t := range f.tails {
		_ = t.file.Close() // it was only read
	}
}

// pass looks at every file once, and reads each to its end.
func (f *follower) pass(ctx context.Context) error {
	f.find()
	changed := false
	for _, path := range slices.Sorted(maps.Keys(f.tails)) {
		for range mostReads {
			more, err := f.step(ctx, f.tails[path])
			if err != nil {
				f.failed(path, err)
				_ = f.tails[path].file.Close() // it was only read
				delete(f.tails, path)
				break
			}
			if !more || ctx.Err() != nil {
				break
			}
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return savePlace(f.files.Place, f.places)
}

// step takes what is next of a file. It reports false if there is nothing now, or ctx has ended.
func (f *follower) step(ctx context.Context, t *tail) (more bool, err error) {
	s := f.in.sources.Load().byName[f.files.Source]
	if s == nil {
		return false, nil // it is not declared any more
	}
	before := t.at
	records, n, err := t.read()
	if err != nil {
		return false, err
	}
	if len(records) > 0 && !f.in.patiently(ctx, s, records, n, sender{}) {
		return false, nil
	}
	f.places[t.path] = place{t.at.Device, t.at.Inode, t.safe}
	delete(f.told, t.path)
	for wait := s.quota.wait(time.Now()); wait > 0; wait = s.quota.wait(time.Now()) {
		if !pause(ctx, wait) {
			return false, nil
		}
	}
	return t.at != before, nil
}

// find opens the files that are there now, and forgets those that are gone.
func (f *follower) find() {
	there := map[string]bool{}
	for _, pattern := range f.files.Patterns {
		found, _ := filepath.Glob(pattern) // the model has checked it
		for _, path := range found {
			if len(there) < mostFiles {
				there[path] = true
			}
		}
	}
	for path := range there {
		if f.tails[path] != nil {
			continue
		}
		t, err := openTail(path, f.files.Format, f.places[path])
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				f.failed(path, err)
			}
			continue
		}
		f.tails[path] = t
	}
	for path, t := range f.tails {
		if !there[path] && f.ended(t) {
			_ = t.file.Close() // it was only read
			delete(f.tails, path)
			delete(f.places, path)
		}
	}
}

// ended tells whether a file that has no name any more was read to its end.
func (f *follower) ended(t *tail) bool {
	info, err := t.file.Stat()
	return err != nil || t.at.Offset >= info.Size()
}
