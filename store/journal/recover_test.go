package journal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/store/journal"
)

// frame writes a record as the package comment of frame.go describes it, independently of the package.
func frame(seq uint64, data string) []byte {
	var b []byte
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	tail := binary.LittleEndian.AppendUint64(bytes.Clone(b), seq)
	sum := crc32.Checksum(append([]byte(data), tail...), crc32.MakeTable(crc32.Castagnoli))
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(binary.LittleEndian.AppendUint64(b, seq), data...)
}

func head(first uint64) []byte {
	b := binary.LittleEndian.AppendUint64([]byte("PLSDJRN\x01"), first)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func segmentFile(t testing.TB, dir, name string, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(dir, name+".seg")
	if err := os.WriteFile(path, bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	seg1 = "00000000000000000001"
	seg3 = "00000000000000000003"
)

func TestRecovery(t *testing.T) {
	abc := [][]byte{head(1), frame(1, "a"), frame(2, "b")}
	flip := func(b []byte, at int) []byte { c := bytes.Clone(b); c[at] ^= 1; return c }
	for _, c := range []struct {
		name    string
		tail    []byte
		cut     int64
		damaged bool
		next    uint64
	}{
		{"clean", nil, 0, false, 3},
		{"half a head", frame(3, "torn")[:7], 7, false, 3},
		{"half a payload", frame(3, "torn")[:18], 18, false, 3},
		{"zeros", make([]byte, 4096), 4096, false, 3},
		{"wrong checksum", flip(frame(3, "torn"), 17), 20, false, 3},
		{"wrong sequence", frame(9, "x"), 17, false, 3},
		{"impossible length", []byte(strings.Repeat("\xff", 40)), 40, false, 3},
		{"damage before intact records", append(flip(frame(3, "lost"), 17), frame(4, "kept")...), 0, true, 5},
		{"length damaged before intact records", append(flip(frame(3, "lost"), 1), frame(4, "kept")...), 0, true, 5},
		{"record inside a torn record", frame(3, "x"+string(frame(4, "forged"))+"more")[:40], 40, true, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			segmentFile(t, dir, seg1, append(abc[:3:3], c.tail)...)
			j, rec := open(t, journal.Options{Dir: dir})
			if (rec.Damage != nil) != c.damaged || rec.Next != c.next || !c.damaged && rec.Cut != c.cut {
				t.Fatalf("recovery %+v", rec)
			}
			mustAppend(t, j, "new")
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			_, rec = open(t, journal.Options{Dir: dir})
			if rec.Cut != 0 || rec.Damage != nil || rec.Next != c.next+1 {
				t.Errorf("second recovery %+v", rec)
			}
			got := readAll(dir, 0)
			if got[0] != "1=a" || got[1] != "2=b" || !strings.HasSuffix(got[len(got)-1], "=new") {
				t.Errorf("read %q", got)
			}
			if c.damaged && (len(got) != 5 || !strings.Contains(got[2], "is damaged at byte 54 (record 3)") ||
				got[3] != "error: journal records 3 to 4 are gone") {
				t.Errorf("read %q", got)
			}
		})
	}
}

func TestTornHead(t *testing.T) {
	for n := range len(head(3)) + 1 {
		dir := t.TempDir()
		segmentFile(t, dir, seg1, head(1), frame(1, "a"), frame(2, "b"))
		segmentFile(t, dir, seg3, head(3)[:n])
		j, rec := open(t, journal.Options{Dir: dir})
		if rec.Next != 3 || rec.Damage != nil {
			t.Fatalf("%d bytes: %+v", n, rec)
		}
		mustAppend(t, j, "c")
		expect(t, readAll(dir, 0), "1=a", "2=b", "3=c")
	}
}

func TestDamageInOlderSegment(t *testing.T) {
	dir := t.TempDir()
	bad := frame(2, "b")
	bad[16] ^= 0xff
	segmentFile(t, dir, seg1, head(1), frame(1, "a"), bad)
	segmentFile(t, dir, seg3, head(3), frame(3, "c"))
	expect(t, readAll(dir, 0), "1=a",
		"error: journal segment "+seg1+".seg is damaged at byte 37 (record 2): a record that fails its checksum",
		"error: journal records 2 to 2 are gone", "3=c")
	expect(t, readAll(dir, 3), "3=c")

	segmentFile(t, dir, seg1, head(1), frame(1, "a"), frame(2, "b")[:3])
	got := readAll(dir, 0)
	if len(got) != 4 || !strings.Contains(got[1], "cut short") || got[3] != "3=c" {
		t.Errorf("read %q", got)
	}
}

func TestMissingSegment(t *testing.T) {
	dir := t.TempDir()
	segmentFile(t, dir, seg1, head(1), frame(1, "a"))
	segmentFile(t, dir, seg3, head(3), frame(3, "c"))
	expect(t, readAll(dir, 0), "1=a", "error: journal records 2 to 2 are gone", "3=c")
	var gap *journal.GapError
	for _, err := range journal.Read(dir, 0) {
		if err != nil && !errors.As(err, &gap) {
			t.Errorf("got %v", err)
		}
	}
	if gap == nil || gap.From != 2 || gap.To != 2 {
		t.Errorf("gap %+v", gap)
	}
}

func TestForeignFilesAreLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"00000000000000000000", "1", "18446744073709551615", "99999999999999999999", "x"} {
		segmentFile(t, dir, name, []byte("not mine"))
	}
	j, rec := open(t, journal.Options{Dir: dir, KeepBytes: 1})
	if rec.Next != 1 || rec.Segments != 1 {
		t.Errorf("recovery %+v", rec)
	}
	mustAppend(t, j, "a")
	expect(t, readAll(dir, 0), "1=a")
	if n := len(segments(t, dir)); n != 6 {
		t.Errorf("%d files", n)
	}
}

// FuzzRecover opens a journal whose newest segment holds anything at all.
func FuzzRecover(f *testing.F) {
	whole := bytes.Join([][]byte{head(1), frame(1, "a"), frame(2, "bb"), frame(3, "")}, nil)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{})
	f.Add(head(1)[:9])
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add(append(append(bytes.Clone(whole), 0xff), frame(5, "later")...))
	f.Add(append(append(bytes.Clone(whole[:50]), 0xff), frame(4, "later")...))
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path := segmentFile(t, dir, seg1, content)
		check := func() (n uint64) {
			// What is read must stand in the file word for word, framed with a good checksum.
			want := head(1)
			for r, err := range journal.Read(dir, 0) {
				if err == nil && r.Seq == n+1 {
					n++
					want = append(want, frame(r.Seq, string(r.Data))...)
				}
			}
			if n > 0 && !bytes.HasPrefix(content, want) {
				t.Fatalf("%d records read from %q", n, content)
			}
			return n
		}
		before := check()
		j, rec := open(t, journal.Options{Dir: dir})
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if after := check(); after != before {
			t.Fatalf("%d records before recovery, %d after", before, after)
		}
		left, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Damage != nil && !bytes.Equal(left, content) {
			t.Fatal("a damaged segment was changed")
		}
		j, again := open(t, journal.Options{Dir: dir})
		if again.Cut != 0 || again.Damage != nil || again.Next != rec.Next || again.Segments != rec.Segments {
			t.Fatalf("first %+v, then %+v", rec, again)
		}
		seq, err := j.Append(t.Context(), []byte("new"))
		if err != nil || seq != rec.Next {
			t.Fatalf("appended %d, %v; want %d", seq, err, rec.Next)
		}
		if got := readAll(dir, seq); len(got) != 1 || !strings.HasSuffix(got[0], "=new") {
			t.Fatalf("read back %q", got)
		}
	})
}
