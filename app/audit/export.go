package audit

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/palisade-security/palisade/ledger"
)

// The files of an export beside those of the ledger.
const (
	manifestFile  = "manifest.json"
	recordsFile   = "records.ndjson.gz"
	deletionsFile = "deletions.ndjson.gz"
	readmeFile    = "README.md"
)

// Manifest says what is exported. It proves nothing: the checkpoint does.
type Manifest struct {
	Version int    `json:"version"` // 1
	Ledger  string `json:"ledger"`  // its name
	Size    uint64 `json:"size"`    // records that the checkpoint tells of
	First   uint64 `json:"first"`   // number of the first record that is exported, if it is still kept
	Last    uint64 `json:"last"`    // of the last
	Records uint64 `json:"records"` // how many are exported
}

const manifestVersion = 1

// Part is which records are exported: all that are from a time on and before another are among them. Zero: no bound.
type Part struct{ Since, Until time.Time }

// Export writes records with what proves them into a new folder, from the files of a running fleet or of one that is not. An
// earlier checkpoint, if one is given, can be held against the export.
func Export(ctx context.Context, from Place, part Part, earlier []byte, out string) (*Manifest, error) {
	files := from.files(ctx)
	key, err := readKeyFrom(files, keyFile)
	if err != nil {
		return nil, err
	}
	text, err := readFrom(files, checkpointFile) // before the records: those that it tells of are there
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	keys := ledger.Keys{Ledger: key}
	c, err := keys.Checkpoint(text)
	if err != nil {
		return nil, err
	}
	sizes := []uint64{}
	if earlier != nil {
		before, err := keys.Checkpoint(earlier)
		if err != nil {
			return nil, fmt.Errorf("the earlier one: %w", err)
		}
		sizes = append(sizes, before.Size)
	}
	look, end, err := from.look(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = end() }() // read only
	m := &Manifest{Version: manifestVersion, Ledger: c.Origin, Size: c.Size}
	if m.First, m.Last, err = part.numbers(ctx, look, c.Size); err != nil {
		return nil, err
	}
	if m.First > m.Last {
		return nil, errors.New("no records of that time are in the ledger")
	}
	if err := fresh(out); err != nil {
		return nil, err
	}
	x := &exporter{look: look, out: out, Manifest: m}
	if err := x.records(ctx); err != nil {
		return nil, err
	}
	if err := x.tiles(ctx, files, append(sizes, x.elsewhere)); err != nil {
		return nil, err
	}
	if err := x.witnessed(ctx, files, &keys); err != nil {
		return nil, err
	}
	return m, x.small(text, files)
}

// numbers returns those of the first and the last record.
func (p *Part) numbers(ctx context.Context, look look, size uint64) (first, last uint64, err error) {
	if first, last, err = look.Within(ctx, p.Since, p.Until); err != nil {
		return 0, 0, err
	}
	if p.Since.IsZero() {
		first = 1
	}
	if p.Until.IsZero() {
		last = size
	}
	return first, min(last, size), nil
}

// fresh makes a folder, or takes one that is empty.
func fresh(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of an export: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err == nil && len(there) > 0 {
		err = fmt.Errorf("%s is not empty; name a new one", dir)
	}
	if err != nil {
		return fmt.Errorf("making the folder of an export: %w", err)
	}
	return nil
}

// exporter writes an export.
type exporter struct {
	*Manifest
	look      look
	out       string
	elsewhere uint64 // number of the last record behind the others that says what was deleted; 0: none
}

// records writes the records, and the last one behind them that says what was deleted. One that cannot be read is an error: an export that
// lacks it would look as if it had been altered.
func (x *exporter) records(ctx context.Context) error {
	said := []byte{}
	err := zipped(filepath.Join(x.out, recordsFile), func(w *bufio.Writer) error {
		var line []byte
		for r, err := range x.look.Records(ctx, x.First) {
			switch {
			case err != nil:
				return fmt.Errorf("reading records: %w", err)
			case r.Number > x.Size:
				return nil
			case r.Number > x.Last:
				if deletions(r.JSON()) != nil {
					x.elsewhere, said = r.Number, appendLine(said[:0], r.Number, r.JSON())
				}
				continue
			}
			x.Records++
			line = appendLine(line[:0], r.Number, r.JSON())
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || x.elsewhere == 0 {
		return err
	}
	return zipped(filepath.Join(x.out, deletionsFile), func(w *bufio.Writer) error {
		_, err := w.Write(said)
		return err
	})
}

// zipped writes a file of lines.
func zipped(path string, write func(*bufio.Writer) error) (err error) {
	f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	z := gzip.NewWriter(f)
	w := bufio.NewWriterSize(z, 1<<20)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, z.Close(), f.Close()); err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	return nil
}

// tiles copies the tiles that are needed.
func (x *exporter) tiles(ctx context.Context, from fs.FS, alone []uint64) error {
	return ledger.Files(from).Copy(ctx, x.Size, x.First, x.Last, alone, x.tile)
}

// tile writes a tile.
func (x *exporter) tile(name string, data []byte) error {
	path := filepath.Join(x.out, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// witnessed copies what witnesses have signed, and the tiles that its tree ends with.
func (x *exporter) witnessed(ctx context.Context, from fs.FS, keys *ledger.Keys) error {
	text, err := readFrom(from, witnessedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading what witnesses have signed: %w", err)
	}
	c, err := keys.Checkpoint(text)
	if err != nil {
		return fmt.Errorf("what witnesses have signed: %w", err)
	}
	if c.Size > x.Size {
		return nil // it came meanwhile
	}
	if err := ledger.Files(from).Copy(ctx, c.Size, c.Size, c.Size, nil, x.tile); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(x.out, witnessedFile), text, 0o600)
}

// small writes everything else.
func (x *exporter) small(checkpoint []byte, from fs.FS) error {
	key, err := readFrom(from, keyFile)
	if err != nil {
		return fmt.Errorf("reading the public key of the ledger: %w", err)
	}
	text, err := json.MarshalIndent(x.Manifest, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	for name, data := range map[string][]byte{
		checkpointFile: checkpoint, keyFile: key, manifestFile: append(text, '\n'), readmeFile: []byte(readme),
	} {
		if err := os.WriteFile(filepath.Join(x.out, name), data, 0o600); err != nil {
			return fmt.Errorf("exporting: %w", err)
		}
	}
	return nil
}

const readme = `# Records, and what proves them

` + "`records.ndjson.gz`" + ` has one record in a line, in the order in which they were taken:
` + "`" + `{"number":12,"record":{...}}` + "`" + `. A number that is not there was deleted for its age, or is missing: verifying tells which.

Verify, on a machine of your own, with a public key that you did not get from this folder:

    palisade audit verify . --key ledger.pub
    palisade audit verify . --key ledger.pub --earlier a-checkpoint-that-you-kept

Exit code 0: nothing is wrong; 1: something is, and the first record is named; 2: it could not be told. Keep the file
` + "`checkpoint`" + `: against it the next export is held.

Without Palisade: ` + "`checkpoint`" + ` is a signed note (C2SP tlog-checkpoint, key.pub is its key: name, key id, Ed25519), ` + "`tile/`" + ` are tiles of
its Merkle tree (C2SP tlog-tiles, RFC 6962 section 2). The leaf of number N is at index N-1; its data is the SHA-256 of the exact bytes
of the record, which are what stands between ` + "`\"record\":`" + ` and the last brace of the line; so its hash is SHA-256(0x00 || SHA-256(record)).
A leaf whose data is 32 zero bytes stands for a record that was gone before the ledger saw it.
`
