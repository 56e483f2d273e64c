// Package atlas keeps the map of a fleet over time: what every hour of events showed of who calls whom, and what was declared
// then. It is small beside the events, and stays when they are gone. A Keeper follows a store of events, a Book reads what it keeps.
//
// It is not for the map of the last seconds, nor for questions about single calls: ask the events.
package atlas

import (
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/policy"
	"github.com/palisade-security/palisade/topology"
)

// ErrNone says that nothing is kept of a time.
var ErrNone = errors.New("no map is kept of that time")

// Declared is the map of a model, with the policies that decide about its edges. Fleet may be nil (topology.Declare).
func Declared(snap *model.Snapshot, fleet *model.Fleet) *topology.Map {
	m := topology.Declare(snap, fleet)
	if set, _ := policy.Compile(snap); set != nil { // one that does not compile is in force nowhere
		m.SetPolicies(set)
	}
	return m
}

// reign says what was declared from a time on.
type reign struct {
	Since    time.Time `json:"since"`
	Snapshot string    `json:"snapshot"`
	Map      string    `json:"map"` // name of its file
}

// kept is a file of what was seen in an hour or a day.
type kept struct {
	Next uint64         `json:"next"` // events with lower numbers that belong into it are in it
	Part *topology.Part `json:"part"`
}

// The names of files on a shelf: what was declared is named by its content, what was seen by its time in UTC.
const (
	reignsFile   = "reigns.json"
	positionFile = "position.json"
	declaredDir  = "declared"
	seenDir      = "seen"
	suffix       = ".json.gz"
	hourName     = "2006-01-02T15"
	dayName      = "2006-01-02"
	day          = 24 * time.Hour
)

// stretch is the time of a file.
type stretch struct {
	from time.Time
	long time.Duration // an hour, or a day
}

func (s stretch) until() time.Time { return s.from.Add(s.long) }

func (s stretch) middle() time.Time { return s.from.Add(s.long / 2) }

func (s stretch) name() string {
	layout := hourName
	if s.long == day {
		layout = dayName
	}
	return path.Join(seenDir, s.from.UTC().Format(layout)+suffix)
}

// stretches lists what is kept, the oldest first. Of a day that is kept as a whole the hours are left out: they were not
// deleted yet.
func stretches(files fs.FS) (all, hidden []stretch, err error) {
	entries, err := fs.ReadDir(files, seenDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("listing maps: %w", err)
	}
	days := map[time.Time]bool{}
	for _, f := range entries {
		name, ok := strings.CutSuffix(f.Name(), suffix)
		if at, err := time.Parse(dayName, name); ok && err == nil {
			all = append(all, stretch{at, day})
			days[at] = true
		} else if at, err := time.Parse(hourName, name); ok && err == nil {
			all = append(all, stretch{at, time.Hour})
		}
	}
	all = slices.DeleteFunc(all, func(s stretch) bool {
		gone := s.long == time.Hour && days[s.from.Truncate(day)]
		if gone {
			hidden = append(hidden, s)
		}
		return gone
	})
	slices.SortFunc(all, func(a, b stretch) int { return a.from.Compare(b.from) })
	return all, hidden, nil
}

// mostUnpacked bounds what is read of a file.
const mostUnpacked = 1 << 30

// readPacked reads a file of JSON.
func readPacked(files fs.FS, name string, out any) (err error) {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading
	z, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(io.LimitReader(z, mostUnpacked)).Decode(out)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(z, mostUnpacked)) // for its sum
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return nil
}

func readKept(files fs.FS, s stretch) (*kept, error) {
	var k kept
	if err := readPacked(files, s.name(), &k); err != nil {
		return nil, err
	}
	if k.Part == nil {
		return nil, fmt.Errorf("reading %s: there is no map in it", s.name())
	}
	if err := k.Part.Check(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.name(), err)
	}
	return &k, nil
}

func readReigns(files fs.FS) ([]reign, error) {
	var out []reign
	data, err := fs.ReadFile(files, reignsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("reading which models were in force: %w", err)
	}
	slices.SortStableFunc(out, func(a, b reign) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// readDeclared reads what was declared under a reign.
func readDeclared(files fs.FS, r reign) (*topology.Map, error) {
	f, err := files.Open(path.Join(declaredDir, path.Base(r.Map)+suffix))
	if err != nil {
		return nil, fmt.Errorf("reading what was declared: %w", err)
	}
	defer func() { _ = f.Close() }() // opened for reading
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading what was declared: %w", err)
	}
	m, err := topology.Read(io.LimitReader(z, mostUnpacked))
	if err != nil {
		return nil, fmt.Errorf("reading what was declared: %w", err)
	}
	return m, nil
}

// under returns the reign of a time; before the first one, the first.
func under(reigns []reign, at time.Time) reign {
	i, _ := slices.BinarySearchFunc(reigns, at, func(r reign, at time.Time) int { return cmp.Or(r.Since.Compare(at), -1) })
	return reigns[max(i-1, 0)]
}

// writeDeclared keeps what is declared, and returns its name.
func writeDeclared(to Shelf, m *topology.Map) (string, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("keeping what is declared: %w", err)
	}
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:16])
	file := path.Join(declaredDir, name+suffix)
	if _, err := fs.Stat(to, file); err == nil {
		return name, nil
	}
	return name, writePacked(to, file, m)
}
