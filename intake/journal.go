package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Journal is the journal of systemd on this host, read through journalctl: its files change with its versions, and no library in Go
// reads them without cgo.
type Journal struct {
	Source string // that is declared
	Place  string // file in which it is kept how far it was read
	Failed func(error)
}

// Bounds of following the journal.
const (
	journalPause = 5 * time.Second // before journalctl is started again
	journalLine  = 1 << 20         // bytes of one entry as JSON; longer ones are left out
	journalBatch = 256             // entries that are written together
)

// journalPlace is how far the journal was read.
type journalPlace struct {
	Cursor string `json:"cursor"`
}

// FollowJournal takes the journal's entries until ctx ends. It goes on where it was before; the first time it begins with what is
// written from then on.
func (in *Intake) FollowJournal(ctx context.Context, j Journal) error {
	var at journalPlace
	if err := loadPlace(j.Place, &at); err != nil {
		return err
	}
	for {
		err := in.readJournal(ctx, &j, &at)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // journalctl was ended
		}
		if err != nil {
			j.Failed(err)
		}
		if !pause(ctx, journalPause) {
			return nil
		}
	}
}

// readJournal runs journalctl until it ends.
func (in *Intake) readJournal(ctx context.Context, j *Journal, at *journalPlace) (err error) {
	args := []string{"--output=json", "--follow", "--all", "--no-pager", "--quiet"}
	if at.Cursor != "" {
		args = append(args, "--no-tail", "--after-cursor="+at.Cursor)
	} else {
		args = append(args, "--lines=0")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	command := exec.CommandContext(ctx, "journalctl", args...)
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	defer func() {
		cancel()
		if ended := command.Wait(); err == nil && ended != nil {
			err = fmt.Errorf("journalctl has ended: %w", ended)
		}
	}()
	r := bufio.NewReaderSize(out, 64<<10)
	for {
		records, n, cursor, err := readEntries(r)
		s := in.sources.Load().byName[j.Source]
		if s == nil {
			return errors.New("the source of the journal is not declared any more")
		}
		if len(records) > 0 && !in.patiently(ctx, s, records, n, sender{}) {
			return nil
		}
		if cursor != "" {
			at.Cursor = cursor
			if err := savePlace(j.Place, at); err != nil {
				return err
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading the journal: %w", err)
		}
		for wait := s.quota.wait(time.Now()); wait > 0; wait = s.quota.wait(time.Now()) {
			if !pause(ctx, wait) {
				return nil
			}
		}
	}
}

// readEntries reads an entry, and those that have come with it, and the cursor of the last one. With an error there may be entries
// before it.
func readEntries(r *bufio.Reader) (records []*record, n int64, cursor string, err error) {
	for len(records) < journalBatch && (n == 0 || r.Buffered() > 0) {
		line, err := readUntil(r, '\n', journalLine)
		if errors.Is(err, errFrame) {
			if err := skipLine(r); err != nil {
				return records, n, cursor, err
			}
			n++
			continue
		}
		if err != nil {
			return records, n, cursor, err
		}
		n += int64(len(line)) + 1
		if one, at := readEntry(line); one != nil {
			records, cursor = append(records, one), at
		}
	}
	return records, n, cursor, nil
}

func skipLine(r *bufio.Reader) error {
	for {
		_, err := r.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// readEntry reads an entry of the journal (systemd, Journal JSON Format); nil: it is none.
func readEntry(line []byte) (r *record, cursor string) {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if !shallow(line, maxNesting) || d.Decode(&fields) != nil {
		return nil, ""
	}
	field := func(name string) string { return journalText(fields[name]) }
	if cursor = field("__CURSOR"); cursor == "" {
		return nil, ""
	}
	r = &record{form: formJournal, host: field("_HOSTNAME")}
	for _, name := range []string{"_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"} {
		if us, err := strconv.ParseInt(field(name), 10, 64); err == nil && us > 0 && us < 1<<53 {
			r.time = time.UnixMicro(us).UTC()
			break
		}
	}
	if n, err := strconv.Atoi(field("PRIORITY")); err == nil {
		r.severity, r.level = severitySyslog(n), syslogName(n)
	}
	for name, of := range map[string]string{"unit": "_SYSTEMD_UNIT", "app": "SYSLOG_IDENTIFIER", "pid": "_PID", "uid": "_UID", "command": "_COMM", "container.id": "CONTAINER_ID_FULL", "boot": "_BOOT_ID"} {
		if value := field(of); value != "" {
			r.set(name, value)
		}
	}
	for _, name := range sortedNames(fields) {
		if name[0] != '_' && !slices.Contains([]string{"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_TIMESTAMP", "SYSLOG_RAW", "CONTAINER_ID_FULL"}, name) {
			value := journalText(fields[name])
			if low := strings.ToLower(name); meaningOf(low) != isTrace && meaningOf(low) != isSpan || !understand(r, meaningOf(low), value) {
				r.set(low, value)
			}
		}
	}
	host := r.host
	readMessage(r, field("MESSAGE"))
	if host != "" {
		r.host = host
	}
	r.form = formJournal
	return r, cursor
}

func sortedNames(fields map[string]any) []string {
	var out []string
	for name := range fields {
		if name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// journalText is the text of a field: a text, a list of bytes if it is not UTF-8, or a list of several values, of which the first
// counts.
func journalText(value any) string {
	if text, ok := scalar(value); ok {
		return text
	}
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return ""
	}
	if _, number := list[0].(json.Number); !number {
		text, _ := scalar(list[0])
		return text
	}
	var b []byte
	for _, one := range list {
		n, _ := one.(json.Number)
		v, err := strconv.ParseUint(n.String(), 10, 8)
		if err != nil {
			return ""
		}
		b = append(b, byte(v))
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
