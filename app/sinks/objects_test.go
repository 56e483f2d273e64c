package sinks_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/palisade-security/palisade/app/sinks"
	"github.com/palisade-security/palisade/event/eventtest"
	"github.com/palisade-security/palisade/internal/buckettest"
	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/sink"
	"github.com/palisade-security/palisade/store/query"
)

// TestParquet exports from the store to a bucket, and reads the objects with a Parquet reader in another language.
func TestParquet(t *testing.T) {
	s := buckettest.Start(t)
	foreign := filepath.Join("..", "..", "store", "segment", "foreign")
	if _, err := os.Stat(filepath.Join(foreign, "node_modules")); err != nil {
		t.Fatal("the foreign reader is not installed: run scripts/deps.sh")
	}
	r := inStore(t)
	all := eventtest.New(7, start, 30*time.Second).Take(600) // five hours
	r.add(t, all)
	dir := t.TempDir()
	running := sinks.New(sinks.Options{
		Dir: dir, Source: func(where query.Query) sink.Source { return r.follow(where) }, Log: slog.New(slog.DiscardHandler), Host: "control-1",
		Getenv: func(string) (string, bool) { return buckettest.Password, true },
	})
	defer running.Close()
	must(t, running.Follow(t.Context(), []model.ResolvedExport{{Name: "lake", Export: model.Export{
		Kind: "s3", URL: s.URL, Bucket: buckettest.Name, Prefix: "palisade", User: buckettest.User, Password: model.Value{FromEnv: "X"}, Format: "parquet",
	}}}))
	eventually(t, "all are sent", func() bool { return running.Status()[0].Position == 601 })
	want, hours, objects := map[string]time.Time{}, map[time.Time]bool{}, 0
	for _, e := range all {
		want[e.ID], hours[e.Time.Truncate(time.Hour)] = e.Time, true
	}
	must(t, filepath.WalkDir(s.Dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".parquet") {
			return err
		}
		objects++
		out, err := exec.CommandContext(t.Context(), "node", filepath.Join(foreign, "read.mjs"), path).Output()
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(bytes.NewReader(out))
		lines.Buffer(nil, 1<<24)
		for lines.Scan(); lines.Scan(); { // the first line is metadata
			var row struct{ ID string }
			must(t, json.Unmarshal(lines.Bytes(), &row))
			hour := want[row.ID].UTC().Format("/palisade/date=2006-01-02/hour=15/")
			if want[row.ID].IsZero() || !strings.Contains(path, hour+"control-1-0000000") {
				t.Errorf("event %q in %s", row.ID, path)
			}
			delete(want, row.ID)
		}
		return lines.Err()
	}))
	if objects != len(hours) || len(want) > 0 {
		t.Errorf("%d objects, %d events are missing", objects, len(want))
	}
	if left, err := filepath.Glob(filepath.Join(dir, "lake", "*.parquet*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
