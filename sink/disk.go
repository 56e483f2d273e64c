package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/palisade-security/palisade/event"
)

// The files in the directory of a sink.
const (
	positionFile = "position.json"
	LettersFile  = "refused.jsonl" // dead letters: {"number":1,"reason":"...","event":{...}} in each line
	olderLetters = ".1"            // the dead letters before those
)

// position is what is kept of a sink.
type position struct {
	Next uint64 `json:"next"` // number of the first record that is not taken yet
}

func readPosition(dir string) (uint64, error) {
	path := filepath.Join(dir, positionFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading position: %w", err)
	}
	var p position
	if err := json.Unmarshal(text, &p); err != nil {
		return 0, fmt.Errorf("reading position in %q: %w; delete the file to send everything again from the oldest record", path, err)
	}
	return p.Next, nil
}

// writePosition returns when the position would outlive the loss of power.
func writePosition(dir string, next uint64) error {
	text, err := json.Marshal(position{next})
	if err != nil {
		return fmt.Errorf("writing position: %w", err)
	}
	path := filepath.Join(dir, positionFile)
	if err := writeSynced(path+".new", os.O_TRUNC, text); err != nil {
		return fmt.Errorf("writing position: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("writing position: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("writing position: %w", err)
	}
	return nil
}

func writeSynced(path string, flag int, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flag, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// letters are the dead letters of a sink, in two files: when the first is full it takes the place of the second.
type letters struct {
	path string
	most int64 // bytes of both
}

type letter struct {
	Number uint64          `json:"number"`
	Reason string          `json:"reason"`
	Event  json.RawMessage `json:"event"` // as recorded
}

// add returns when the letter is safe on disk, and how many it has replaced.
func (l *letters) add(r Record, reason string) (dropped uint64, err error) {
	text, err := json.Marshal(letter{r.Number, reason, event.AppendJSON(nil, r.Event)})
	if err != nil {
		return 0, fmt.Errorf("writing dead letter: %w", err)
	}
	if info, err := os.Stat(l.path); err == nil && info.Size()+int64(len(text)) > l.most/2 {
		if dropped, err = countLines(l.path + olderLetters); err != nil {
			return 0, fmt.Errorf("writing dead letter: %w", err)
		}
		if err := os.Rename(l.path, l.path+olderLetters); err != nil {
			return 0, fmt.Errorf("writing dead letter: %w", err)
		}
	}
	err = writeSynced(l.path, os.O_APPEND, append(text, '\n'))
	if err = errors.Join(err, syncDir(filepath.Dir(l.path))); err != nil {
		return 0, fmt.Errorf("writing dead letter: %w", err)
	}
	return dropped, nil
}

// countLines returns the number of lines of a file; none if there is no such file.
func countLines(path string) (n uint64, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	for {
		got, err := f.Read(buf)
		n += uint64(bytes.Count(buf[:got], []byte("\n")))
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
