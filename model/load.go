package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Declared is a model as it was written: all files merged into one Fleet, with the place of every key. It is
// immutable; loading again makes a new one.
type Declared struct {
	Fleet Fleet // as written: no defaults, paths relative to the files that name them

	files    []string // read by Load, absolute
	dirs     []string // looked through by Load, absolute
	places   map[string]place
	wrong    map[string]bool // key paths with an error: what follows from them is not reported again
	findings []Finding       // of Load
}

// Load reads and checks the model in files and directories. Of a directory it reads palisade.yaml, every
// *.palisade.yaml, and every palisade.d/*.yaml, in this order and by name within it. Files merge: each may say a
// part, lists are joined, and what is declared twice is a finding that names both places.
//
// All mistakes are returned at once, by place. The error is about input and output only; then the rest is nil.
func Load(paths ...string) (*Declared, []Finding, error) {
	d := &Declared{places: make(map[string]place)}
	sources, findings, err := d.collect(paths)
	if err != nil {
		return nil, nil, err
	}
	dec := &decoder{places: d.places, findings: findings}
	for _, source := range sources {
		absolute, err := filepath.Abs(source)
		if err != nil {
			return nil, nil, fmt.Errorf("loading the model: %w", err)
		}
		if slices.Contains(d.files, absolute) {
			continue
		}
		d.files = append(d.files, absolute)
		if err := dec.read(source, &d.Fleet); err != nil {
			return nil, nil, fmt.Errorf("loading the model: %w", err)
		}
	}
	first := ""
	if len(sources) > 0 {
		first = sources[0]
	}
	return d, d.judge(dec, first), nil
}

// judge finds what is missing in what was decoded, and what is wrong with it.
func (d *Declared) judge(dec *decoder, first string) []Finding {
	if !dec.broken && len(d.files) > 0 {
		dec.required(reflect.ValueOf(d.Fleet), "", Position{File: first}, dec.reported())
	}
	d.wrong = dec.reported()
	d.findings = settle(append(dec.findings, validate(d)...))
	for _, f := range d.findings {
		d.wrong[f.Key] = d.wrong[f.Key] || f.Severity == Error
	}
	return slices.Clone(d.findings)
}

// read decodes one file on top of what others have said.
func (d *decoder) read(file string, fleet *Fleet) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	if info.Size() > maxFile {
		d.report("file-size", Position{File: file}, "", fmt.Sprintf("the file is larger than %d MiB", maxFile>>20), "split the model into several files")
		d.broken = true
		return nil
	}
	text, err := readBounded(file, maxFile)
	if err != nil {
		return err
	}
	d.decode(file, text, fleet)
	return nil
}

func (d *decoder) decode(file string, text []byte, fleet *Fleet) {
	d.file = file
	root, findings := parseYAML(file, text)
	for _, f := range findings {
		d.add(f)
	}
	d.broken = d.broken || root == nil
	if root != nil {
		d.node(root, reflect.ValueOf(fleet).Elem(), "", rules{})
	}
}

// collect turns the paths of Load into files.
func (d *Declared) collect(paths []string) (files []string, findings []Finding, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, nil, fmt.Errorf("loading the model: %w", err)
		}
		if !info.IsDir() {
			if f, bad := badExtension(path, Error); bad {
				findings = append(findings, f)
				continue
			}
			files = append(files, path)
			continue
		}
		found, warnings, err := d.directory(path)
		if err != nil {
			return nil, nil, fmt.Errorf("loading the model: %w", err)
		}
		if len(found) == 0 {
			findings = append(findings, Finding{
				Severity: Error, Code: "no-model", Position: Position{File: path},
				Text: "expected palisade.yaml in this directory", Hint: "write one, or name the file",
			})
		}
		files, findings = append(files, found...), append(findings, warnings...)
	}
	return files, findings, nil
}

func (d *Declared) directory(path string) (files []string, findings []Finding, err error) {
	list := func(dir string, match func(name string) bool) ([]string, error) {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("listing: %w", err)
		}
		entries, err := os.ReadDir(dir) // sorted by name
		if err != nil {
			return nil, fmt.Errorf("listing: %w", err)
		}
		d.dirs = append(d.dirs, absolute)
		var out []string
		for _, e := range entries {
			if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && match(e.Name()) {
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
		return out, nil
	}
	for _, match := range []func(string) bool{
		func(name string) bool { return name == "palisade.yaml" },
		func(name string) bool { return strings.HasSuffix(name, ".palisade.yaml") },
	} {
		found, err := list(path, match)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, found...)
	}
	more, err := list(filepath.Join(path, "palisade.d"), func(string) bool { return true })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, file := range more {
		if f, bad := badExtension(file, Warning); bad {
			findings = append(findings, f)
			continue
		}
		files = append(files, file)
	}
	return files, findings, nil
}

func badExtension(path string, severity Severity) (Finding, bool) {
	if filepath.Ext(path) == ".yaml" {
		return Finding{}, false
	}
	return Finding{
		Severity: severity, Code: "file-extension", Position: Position{File: path},
		Text: "expected a file that ends in .yaml; this one is not read", Hint: "rename it",
	}, true
}

// required reports the keys that must be present and are in no file. It follows only what was written, and
// nothing of what is already known to be wrong.
func (d *decoder) required(v reflect.Value, path string, at Position, wrong map[string]bool) {
	if wrong[path] {
		return
	}
	switch v.Kind() { //nolint:exhaustive // nothing else holds keys
	case reflect.Pointer:
		if !v.IsNil() {
			d.required(v.Elem(), path, at, wrong)
		}
	case reflect.Struct:
		for f := range v.Type().Fields() {
			name, must := keyOf(f)
			if name == "" {
				continue
			}
			key := join(path, name)
			here, written := d.places[key]
			value := v.FieldByIndex(f.Index)
			switch {
			case written && must && value.Kind() == reflect.String && value.IsZero() && !wrong[key]:
				d.report("missing-value", here.Value, key, "expected "+expected(f.Type)+", found nothing", "")
			case written:
				d.required(value, key, here.Key, wrong)
			case must:
				d.report("missing-key", at, key, fmt.Sprintf("key %q is missing; expected %s", name, expected(f.Type)), "")
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			key := join(path, k.String())
			d.required(v.MapIndex(k), key, d.places[key].Key, wrong)
		}
	case reflect.Slice:
		for i := range v.Len() {
			key := path + "[" + strconv.Itoa(i) + "]"
			d.required(v.Index(i), key, d.places[key].Key, wrong)
		}
	}
}

// reported returns the key paths of values that could not be read.
func (d *decoder) reported() map[string]bool {
	keys := make(map[string]bool)
	for _, f := range d.findings {
		if f.Key != "" && f.Code != "declared-twice" && f.Code != "duplicate-key" {
			keys[f.Key] = true
		}
	}
	return keys
}

// expected says what belongs into a field of this type.
func expected(t reflect.Type) string {
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()):
		return notation(t)
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Struct:
		return "keys such as " + sampleKeys(t)
	default:
		return "names with what belongs to each"
	}
}

// at returns where the value of a key path stands, or the nearest place around it.
func (d *Declared) at(key string) Position { return d.near(key).Value }

// Place is where the value of a key path stands, or the nearest around it.
func (d *Declared) Place(key string) Position { return d.at(key) }

// keyAt returns where the key of a key path stands, or the nearest place around it.
func (d *Declared) keyAt(key string) Position { return d.near(key).Key }

func (d *Declared) near(key string) place {
	for key != "" {
		if p, ok := d.places[key]; ok {
			return p
		}
		i := strings.LastIndexAny(key, ".[")
		key = key[:max(i, 0)]
	}
	if len(d.files) == 0 {
		return place{}
	}
	return place{Position{File: d.files[0]}, Position{File: d.files[0]}}
}

// resolve makes a path absolute that stands at a key, relative to the file that names it.
func (d *Declared) resolve(key, path string) (string, error) {
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	absolute, err := filepath.Abs(filepath.Join(filepath.Dir(d.at(key).File), path))
	if err != nil {
		return "", fmt.Errorf("resolving %q: %w", path, err)
	}
	return absolute, nil
}
