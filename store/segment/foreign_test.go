package segment

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/palisade-security/palisade/event"
	"github.com/palisade-security/palisade/event/eventtest"
)

// TestForeign reads a segment with a Parquet reader in another language, and compares every value of every column.
func TestForeign(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT RUN: -short leaves Node.js out")
	}
	if _, err := os.Stat("foreign/node_modules"); errors.Is(err, os.ErrNotExist) {
		t.Fatal("the foreign reader is not installed: run scripts/deps.sh")
	}
	begin := time.Date(2026, 11, 22, 9, 0, 0, 123456789, time.UTC)
	events := append(eventtest.New(1, begin, time.Millisecond).Take(2000), eventtest.New(2, begin, time.Millisecond).Logs(500)...)
	events = append(events, &event.Event{ID: "odd", Time: begin, Path: "/\x00\u2028😀\"\\", Query: string(bytes.Repeat([]byte("x"), 200_000))})
	b := NewBlock(0)
	b.Append(NewBatch(events), 1)
	view := b.View()
	dir, from := t.TempDir(), []Chunk{view}
	rows, err := Order(from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, "a.parquet", from, rows); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", "foreign/read.mjs", filepath.Join(dir, "a.parquet")).Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("%v: %s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	var meta map[string]string
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &meta) != nil || meta["palisade.form"] != form {
		t.Fatalf("metadata %q", lines.Text())
	}
	at := 0
	for ; lines.Scan(); at++ {
		var got map[string]any
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(columns)+1 {
			t.Fatalf("%d columns of %d", len(got), len(columns)+1)
		}
		if said := got[saidName]; (said != nil) != (at == 0) {
			t.Errorf("row %d has the filter %v", at, said)
		}
		for c := range columns {
			s, err := view.load(c)
			if err != nil {
				t.Fatal(err)
			}
			if want := foreignValue(t, s, c, int(rows[at].Row)); !sameJSON(t, got[columns[c].name], want) {
				t.Fatalf("row %d: %s is %v, want %v", at, columns[c].name, got[columns[c].name], want)
			}
		}
	}
	if err := lines.Err(); err != nil || at != len(events) {
		t.Fatalf("%d rows of %d: %v", at, len(events), err)
	}
}

// foreignValue is how a value is written by read.mjs.
func foreignValue(t *testing.T, s *series, c, row int) any {
	t.Helper()
	switch k := columns[c].kind; {
	case k == list:
		var all []string // that reader says null of an empty list
		for _, v := range s.list(row) {
			all = append(all, strconv.FormatInt(v, 10))
		}
		return all
	case k.isText():
		return s.text(row)
	case k == flag:
		return s.numbers[row] != 0
	}
	return strconv.FormatInt(s.numbers[row], 10)
}

func sameJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}
