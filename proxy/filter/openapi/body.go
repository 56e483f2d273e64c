package openapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/palisade-security/palisade/model"
	"github.com/palisade-security/palisade/proxy"
)

// body is a declared request body.
type body struct {
	required bool
	media    []media // the more specific first
}

// media is one declared media type or range.
type media struct {
	pattern   string // lower case, without parameters: application/json, text/*, */*
	node      *node
	delimited map[string]string // form fields whose arrays are one value, by separator
}

func (l *loading) body(r *openapi3.RequestBody) *body {
	b := &body{required: r.Required}
	for name, m := range r.Content {
		if m == nil {
			m = &openapi3.MediaType{}
		}
		x := media{pattern: baseType(name), node: l.compiler.ref(m.Schema), delimited: make(map[string]string)}
		for field, e := range m.Encoding {
			if s := e.SerializationMethod(); !s.Explode {
				x.delimited[field] = map[string]string{"spaceDelimited": " ", "pipeDelimited": "|"}[s.Style]
				if x.delimited[field] == "" {
					x.delimited[field] = ","
				}
			}
		}
		if x.node != nil && strings.HasSuffix(x.pattern, "xml") {
			l.finding(model.Warning, m.Origin, "unchecked-media-type", "bodies of type "+x.pattern+" are let through without a look at their schema", "")
		}
		b.media = append(b.media, x)
	}
	slices.SortFunc(b.media, func(x, y media) int {
		if d := strings.Count(x.pattern, "*") - strings.Count(y.pattern, "*"); d != 0 {
			return d
		}
		return strings.Compare(x.pattern, y.pattern)
	})
	return b
}

// find returns the declared media type that a content type falls under.
func (b *body) find(contentType string) *media {
	for i := range b.media {
		p := b.media[i].pattern
		if p == contentType || p == "*/*" || strings.HasSuffix(p, "/*") && strings.HasPrefix(contentType, p[:len(p)-1]) {
			return &b.media[i]
		}
	}
	return nil
}

// baseType is a media type without its parameters, in lower case.
func baseType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(s))
}

func isJSON(base string) bool {
	return base == "application/json" || base == "text/json" || strings.HasSuffix(base, "+json")
}

const (
	formType      = "application/x-www-form-urlencoded"
	multipartType = "multipart/form-data"
)

// errForm is a form that cannot be read; the wrapped texts never hold a part of it.
var errForm = errors.New("the form cannot be read")

// parseForm reads application/x-www-form-urlencoded (WHATWG URL, section 5.1), at most limit fields.
func parseForm(b []byte, limit int) ([]proxy.Param, error) {
	var out []proxy.Param
	for pair := range bytes.SplitSeq(b, []byte("&")) {
		if len(pair) == 0 {
			continue
		}
		if len(out) == limit {
			return nil, errForm
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		n, errName := url.QueryUnescape(string(name))
		v, errValue := url.QueryUnescape(string(value))
		if errName != nil || errValue != nil {
			return nil, errForm
		}
		out = append(out, proxy.Param{Name: n, Value: v})
	}
	return out, nil
}

// formPart is a field of a form with what is known of its type.
type formPart struct {
	proxy.Param
	json   bool // a JSON text
	opaque bool // a file, or of a type that is not looked into
}

// parseMultipart reads multipart/form-data (RFC 7578), at most limit parts. Transfer encodings are refused, as
// section 4.7 has it, and so is text before the first or after the last delimiter: what is checked is what the
// service reads.
func parseMultipart(b []byte, boundary string, limit int) ([]formPart, error) {
	if !bytes.HasPrefix(b, []byte("--"+boundary+"\r\n")) || !bytes.HasSuffix(bytes.TrimSuffix(b, []byte("\r\n")), []byte("\r\n--"+boundary+"--")) {
		return nil, errForm
	}
	reader := multipart.NewReader(bytes.NewReader(b), boundary)
	var out []formPart
	for {
		p, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil || len(out) == limit || p.Header.Get("Content-Transfer-Encoding") != "" ||
			len(p.Header["Content-Disposition"]) != 1 || len(p.Header["Content-Type"]) > 1 || p.FormName() == "" {
			return nil, errForm
		}
		f := formPart{Param: proxy.Param{Name: p.FormName()}}
		kind := baseType(p.Header.Get("Content-Type"))
		switch {
		case isJSON(kind):
			f.json = true
		case p.FileName() != "", kind != "" && kind != "text/plain":
			f.opaque = true
		}
		value, err := io.ReadAll(p)
		if err != nil {
			return nil, errForm
		}
		if !f.opaque {
			f.Value = string(value)
		}
		out = append(out, f)
	}
}

// boundaryOf returns the boundary of a multipart content type, or "".
func boundaryOf(contentType string) string {
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return params["boundary"]
}

// charset returns the charset parameter in lower case; ok is false if the parameters cannot be read.
func charset(contentType string) (name string, ok bool) {
	if !strings.Contains(contentType, ";") {
		return "", true
	}
	_, params, err := mime.ParseMediaType(contentType)
	return strings.ToLower(params["charset"]), err == nil
}

// appendForm writes a form as a JSON object and appends the offsets of its opaque values, which stand as null.
// It reports a field that comes twice without its schema being an array, and a JSON part that is not JSON.
func (m *media) appendForm(dst []byte, parts []formPart, text bool, limits bounds, opaque []uint32) ([]byte, []uint32, *fault) {
	dst = append(dst, '{')
	done := make(map[string]struct{}, len(parts))
	groups := make(map[string][]formPart, len(parts))
	for _, p := range parts {
		groups[p.Name] = append(groups[p.Name], p)
	}
	for _, p := range parts {
		if _, again := done[p.Name]; again {
			continue
		}
		done[p.Name] = struct{}{}
		group, sub := groups[p.Name], propertyOf(m.node, p.Name)
		wants := wanted(sub, 0)
		list := wants&scalars == 0 && wants&typeArray != 0 && (!p.json || len(group) != 1)
		if !list && len(group) > 1 {
			return dst, opaque, &fault{code: "duplicate-field", text: "a field that is no array stands twice"}
		}
		if len(done) > 1 {
			dst = append(dst, ',')
		}
		dst = append(appendText(dst, p.Name), ':')
		if list {
			wants = wanted(itemsOf(sub), 0)
			dst = append(dst, '[')
		}
		if separator, split := m.delimited[p.Name]; list && split && len(group) == 1 && !p.opaque {
			group = group[:0:0]
			for s := range strings.SplitSeq(p.Value, separator) {
				group = append(group, formPart{Param: proxy.Param{Name: p.Name, Value: s}})
			}
		}
		for i, g := range group {
			if i > 0 {
				dst = append(dst, ',')
			}
			switch {
			case g.opaque:
				opaque = append(opaque, uint32(len(dst)))
				dst = append(dst, "null"...)
			case g.json || wants&scalars == 0 && wants&(typeObject|typeArray) != 0:
				var d document
				if f := d.scan([]byte(g.Value), limits); f != nil {
					return dst, opaque, f
				}
				dst = append(dst, g.Value...)
			default:
				dst = appendScalar(dst, g.Value, wants, text)
			}
		}
		if list {
			dst = append(dst, ']')
		}
	}
	return append(dst, '}'), opaque, nil
}
