package waf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// multipartReader fills the variables of a multipart body (RFC 7578) without storing the files in it. What
// readers of multipart bodies disagree about it flags as a strict error, which rule 200003 refuses: repeated
// part headers, a Content-Disposition that does not parse, extended parameters (filename*, RFC 7578, section
// 4.2, forbids them), a body that ends before its last boundary, and text before the first boundary or after the
// last, which no rule sees but a service that does not read it as multipart.
type multipartReader struct{}

var (
	errNotMultipart = errors.New("not a multipart body")
	errParts        = errors.New("too many parts")
)

// multipartVars are the variables that a multipart body fills.
type multipartVars struct {
	plugintypes.TransactionVariables
	total int64
}

// ProcessRequest implements plugintypes.BodyProcessor.
func (multipartReader) ProcessRequest(body io.Reader, v plugintypes.TransactionVariables, o plugintypes.BodyProcessorOptions) error {
	vars := &multipartVars{TransactionVariables: v}
	if err := vars.read(body, o.Mime, o.ArgumentLimit); err != nil {
		vars.strict()
		return fmt.Errorf("reading the multipart body: %w", err)
	}
	return nil
}

// ProcessResponse implements plugintypes.BodyProcessor; answers are not multipart.
func (multipartReader) ProcessResponse(io.Reader, plugintypes.TransactionVariables, plugintypes.BodyProcessorOptions) error {
	return nil
}

func (v *multipartVars) read(body io.Reader, contentType string, most int) error {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(media, "multipart/") || params["boundary"] == "" {
		return errNotMultipart
	}
	whole, err := io.ReadAll(body) // bounded: the body is
	if err != nil {
		return err
	}
	if !framed(whole, "--"+params["boundary"]) {
		v.strict()
	}
	parts := multipart.NewReader(bytes.NewReader(whole), params["boundary"])
	for n := 0; ; {
		// NextRawPart leaves the content as it is: a rule sees what the service gets.
		part, err := parts.NextRawPart()
		if last(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if n++; n > most {
			return errParts
		}
		if err := v.part(part); err != nil {
			return err
		}
	}
}

// framed reports whether a body begins with its first delimiter and ends with its only last one, but for white
// space.
func framed(body []byte, delimiter string) bool {
	body = bytes.TrimSpace(body)
	last := []byte("\n" + delimiter + "--")
	return bytes.HasPrefix(body, []byte(delimiter)) && bytes.Index(body, last) == len(body)-len(last)
}

// last reports whether err is the proper end. A body cut off within a boundary gives a wrapped EOF, which is not.
func last(err error) bool { return err != nil && errors.Is(err, io.EOF) && errors.Unwrap(err) == nil }

func (v *multipartVars) part(p *multipart.Part) error {
	d := v.disposition(p)
	for name, values := range p.Header {
		if len(values) > 1 {
			v.duplicate()
		}
		for _, value := range values {
			v.MultipartPartHeaders().Add(d.name, name+": "+value)
		}
	}
	v.MultipartName().Add(d.name, d.name)
	for _, f := range d.filenames {
		v.MultipartFilename().Add(d.name, f)
	}
	if len(d.filenames) == 0 {
		return v.value(p, d.name)
	}
	size, err := io.Copy(io.Discard, p)
	if err != nil {
		return err
	}
	v.add(size)
	for _, f := range d.filenames {
		v.Files().Add("", f)
		v.FilesSizes().SetIndex(f, 0, strconv.FormatInt(size, 10))
	}
	v.FilesNames().Add("", d.name)
	return nil
}

func (v *multipartVars) value(p *multipart.Part, name string) error {
	data, err := io.ReadAll(p) // bounded: the body is
	if err != nil {
		return err
	}
	v.add(int64(len(data)))
	v.ArgsPost().Add(name, string(data))
	return nil
}

func (v *multipartVars) add(size int64) {
	v.total += size
	set(v.FilesCombinedSize(), strconv.FormatInt(v.total, 10))
}

func (v *multipartVars) strict() { set(v.MultipartStrictError(), "1") }

func (v *multipartVars) duplicate() {
	set(v.MultipartDuplicatePartHeader(), "1")
	v.strict()
}

// disposition is what a part says it is. Filenames holds every reading of its file name; none: a plain value.
type disposition struct {
	name      string
	filenames []string
}

func (v *multipartVars) disposition(p *multipart.Part) disposition {
	raw := p.Header.Get("Content-Disposition")
	if raw == "" {
		return disposition{}
	}
	_, params, err := mime.ParseMediaType(raw)
	if err != nil {
		v.strict()
		if strings.Contains(err.Error(), "duplicate") {
			set(v.MultipartDuplicatePartHeader(), "1")
		}
		return disposition{filenames: afterEach(raw, "filename")}
	}
	d := disposition{name: params["name"]}
	if f := params["filename"]; f != "" {
		d.filenames = append(d.filenames, f)
	}
	if strings.Contains(lower(raw), "name*") {
		v.strict()
		d.filenames = append(d.filenames, afterEach(raw, "filename")...)
	}
	return d
}

// afterEach returns, as written, what follows each mention of a parameter up to the next semicolon: no reading
// of it, but enough for rules that look for something in it.
func afterEach(raw, param string) []string {
	var out []string
	rest := raw
	for range 8 {
		i := strings.Index(lower(rest), param)
		if i < 0 {
			return out
		}
		rest = rest[i+len(param):]
		value, _, _ := strings.Cut(rest, ";")
		_, value, _ = strings.Cut(value, "=")
		if value = strings.Trim(strings.TrimSpace(value), `"`); value != "" {
			out = append(out, value)
		}
	}
	return out
}

// lower maps ASCII letters only, so that positions in the result are positions in s.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// set writes a variable that the engine's interface only lets read.
func set(s collection.Single, value string) {
	if w, ok := s.(interface{ Set(string) }); ok {
		w.Set(value)
	}
}
