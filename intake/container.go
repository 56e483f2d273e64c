package intake

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"time"
)

// liner makes records of the lines of one file. Lines that container runtimes have split are put together again.
type liner struct {
	read  func(r *record, line []byte) (stream string, text []byte, partial bool)
	parts map[string]*part // by stream
}

// part is what has come so far of a line that was split.
type part struct {
	time time.Time
	text []byte
	cut  int64 // bytes that were too many
}

// newLiner returns what reads a format of the model.
func newLiner(format string) *liner {
	l := &liner{parts: map[string]*part{}}
	switch format {
	case formDocker:
		l.read = readDocker
	case formCRI:
		l.read = readCRI
	default:
		l.read = readPlain
	}
	return l
}

// line returns the record that a line completes; nil: none yet.
func (l *liner) line(line []byte) *record {
	r := &record{form: formText}
	stream, text, partial := l.read(r, line)
	p := l.parts[stream]
	if p == nil {
		if len(l.parts) == maxStreams {
			clear(l.parts) // nobody has so many
		}
		p = &part{time: r.time}
	}
	room := maxLine - len(p.text)
	p.cut += int64(max(0, len(text)-room))
	p.text = append(p.text, text[:min(len(text), max(0, room))]...)
	if partial {
		l.parts[stream] = p
		return nil
	}
	delete(l.parts, stream)
	form, at := r.form, p.time
	if stream != "" {
		r.set("stream", stream)
	}
	r.form, r.time, r.omitted = formText, time.Time{}, p.cut
	readLine(r, p.text)
	if r.time.IsZero() {
		r.time = at
	}
	if form != formText {
		r.form = form
	}
	return r
}

// maxStreams is how many streams of one file are put together at once: a runtime writes two.
const maxStreams = 8

// whole tells whether nothing of a split line is waiting.
func (l *liner) whole() bool { return len(l.parts) == 0 }

func readPlain(_ *record, line []byte) (stream string, text []byte, partial bool) {
	return "", line, false
}

// readDocker reads a line of Docker's json-file driver: {"log": "text\n", "stream": "stdout", "time": RFC 3339}. It splits lines of
// more than 16 KiB: all parts but the last have no line feed.
func readDocker(r *record, line []byte) (stream string, text []byte, partial bool) {
	var entry struct {
		Log    *string           `json:"log"`
		Stream string            `json:"stream"`
		Time   string            `json:"time"`
		Attrs  map[string]string `json:"attrs"`
	}
	if json.Unmarshal(line, &entry) != nil || entry.Log == nil {
		return "", line, false
	}
	r.form = formDocker
	if t, err := time.Parse(time.RFC3339Nano, entry.Time); err == nil {
		r.time = t.UTC()
	}
	for name, value := range entry.Attrs {
		r.set(name, value)
	}
	whole, ended := strings.CutSuffix(*entry.Log, "\n")
	return cut(entry.Stream, maxName), []byte(whole), !ended
}

// readCRI reads a line as Kubernetes' Container Runtime Interface wants it: time, stream, tags (P: the line goes on, F: it ends) and
// text, parted by spaces.
func readCRI(r *record, line []byte) (stream string, text []byte, partial bool) {
	at, rest, ok := bytes.Cut(line, []byte(" "))
	name, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tags, rest, _ := bytes.Cut(rest, []byte(" "))
	t, err := time.Parse(time.RFC3339Nano, string(at))
	if !ok || !ok2 || err != nil || string(name) != "stdout" && string(name) != "stderr" {
		return "", line, false
	}
	tag, _, _ := bytes.Cut(tags, []byte(":"))
	r.form, r.time = formCRI, t.UTC()
	return string(name), rest, string(tag) == "P"
}

// namesOf is what the path of a log says of the container that writes it: /var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log, or
// .../containers/ID/ID-json.log.
func namesOf(path string) map[string]string {
	folder := filepath.Dir(path)
	if pod := strings.Split(filepath.Base(filepath.Dir(folder)), "_"); len(pod) == 3 && filepath.Base(filepath.Dir(filepath.Dir(folder))) == "pods" {
		return map[string]string{"k8s.namespace.name": pod[0], "k8s.pod.name": pod[1], "k8s.pod.uid": pod[2], "k8s.container.name": filepath.Base(folder)}
	}
	if id := filepath.Base(folder); strings.HasPrefix(filepath.Base(path), id+"-json.log") {
		return map[string]string{"container.id": id}
	}
	return map[string]string{"log.file.path": path}
}
