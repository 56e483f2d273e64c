package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
)

// maxDocument bounds API documents, policies, key sets and certificates, in bytes.
const maxDocument = 16 << 20

// maxDocumentDepth bounds the nesting of API documents.
const maxDocumentDepth = 256

// absolute is resolve without its error: where the working directory is unknown, reading fails and is reported.
func (c *compiler) absolute(key, path string) string {
	if path == "" {
		return ""
	}
	absolute, err := c.resolve(key, path)
	if err != nil {
		return path
	}
	return absolute
}

// here tells whether the file that a key names is on this host.
func (c *compiler) here(key, path string) bool {
	_, err := os.Stat(c.absolute(key, path))
	return path != "" && err == nil
}

// file reads the file that a key names. Every failure is a finding.
func (c *compiler) file(key, path string) ([]byte, bool) {
	if path == "" {
		return nil, false
	}
	text, err := readBounded(c.absolute(key, path), maxDocument)
	if err != nil {
		c.report(Error, "unreadable-file", key, unreadable(path, err), "")
		return nil, false
	}
	return text, true
}

func unreadable(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no file " + quote(path)
	case errors.Is(err, fs.ErrPermission):
		return "file " + quote(path) + " may not be read"
	default:
		return "file " + quote(path) + " cannot be read: " + err.Error()
	}
}

// policies reads every *.cedar that policies names, by name within each directory.
func (c *compiler) policies() []PolicyFile {
	var out []PolicyFile
	seen := make(map[string]bool)
	for i, path := range c.Fleet.Policies {
		key := index("policies", i)
		files, ok := c.policyFiles(key, path)
		if !ok {
			continue
		}
		for _, file := range files {
			absolute := c.absolute(key, file)
			if seen[absolute] {
				continue
			}
			seen[absolute] = true
			text, ok := c.file(key, file)
			if ok {
				out = append(out, PolicyFile{Name: c.shown(key, file), Text: string(text)})
			}
		}
	}
	return out
}

// shown is how messages name a file: as the file of the model was named, so that an editor finds it.
func (c *compiler) shown(key, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(c.at(key).File), path)
}

func (c *compiler) policyFiles(key, path string) ([]string, bool) {
	info, err := os.Stat(c.absolute(key, path))
	if err != nil {
		c.report(Error, "unreadable-file", key, strings.Replace(unreadable(path, err), "no file", "no file or directory", 1), "")
		return nil, false
	}
	if !info.IsDir() {
		if filepath.Ext(path) != ".cedar" {
			c.report(Error, "file-extension", key, "expected a directory or a file that ends in .cedar", "")
			return nil, false
		}
		return []string{path}, true
	}
	entries, err := os.ReadDir(c.absolute(key, path)) // sorted by name
	if err != nil {
		c.report(Error, "unreadable-file", key, unreadable(path, err), "")
		return nil, false
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && filepath.Ext(e.Name()) == ".cedar" {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		c.report(Warning, "no-policies", key, "the directory "+quote(path)+" holds no *.cedar", "add a policy, or remove this line")
	}
	return files, true
}

// document reads an API document and makes sure that it is an object in JSON or YAML; what it declares is
// checked where it is used.
func (c *compiler) document(key, path string) []byte {
	text, ok := c.file(key, path)
	if !ok {
		return nil
	}
	var err error
	switch filepath.Ext(path) {
	case ".json":
		var top map[string]json.RawMessage
		err = json.Unmarshal(text, &top)
	case ".yaml", ".yml":
		_, err = parseDocument(text)
	default:
		c.report(Error, "file-extension", key, "expected a document that ends in .yaml, .yml or .json", "")
		return nil
	}
	if err != nil {
		c.report(Error, "bad-document", key, quote(path)+" is not a document in "+strings.ToUpper(strings.TrimPrefix(filepath.Ext(path), "."))+": "+firstLine(err), "")
		return nil
	}
	return text
}

// parseDocument reads the syntax alone: nothing is expanded, so that aliases cannot multiply.
func parseDocument(text []byte) (root *ast.MappingNode, err error) {
	defer func() {
		// As in parseTokens: the parser is not ours.
		if fault := recover(); fault != nil {
			root, err = nil, errors.New("its syntax cannot be read")
		}
	}()
	tokens := lexer.Tokenize(string(text))
	var depth nesting
	for _, t := range tokens {
		if depth.add(t) > maxDocumentDepth {
			return nil, fmt.Errorf("nested deeper than %d levels", maxDocumentDepth)
		}
	}
	parsed, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, err //nolint:wrapcheck // shown as it is, behind the name of the file
	}
	if len(parsed.Docs) > 0 {
		if root, ok := parsed.Docs[0].Body.(*ast.MappingNode); ok {
			return root, nil
		}
	}
	return nil, errors.New("expected keys at the top")
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
