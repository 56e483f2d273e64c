package waf

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// xmlReader fills the variables of an XML body as Coraza does, and refuses through rule 200002 what only looks
// inspected: a body that is no XML, which a service that reads it as JSON would understand all the same; text
// outside the root; and declarations, whose entities (XXE) stand for text that no rule sees.
type xmlReader struct{}

var (
	errNotXML = errors.New("not an XML document")
	errDTD    = errors.New("a document type with declarations")
)

// ProcessRequest implements plugintypes.BodyProcessor.
func (xmlReader) ProcessRequest(body io.Reader, v plugintypes.TransactionVariables, _ plugintypes.BodyProcessorOptions) error {
	attributes, contents, err := readXML(body)
	if err != nil {
		return fmt.Errorf("reading the XML body: %w", err)
	}
	v.RequestXML().Set("//@*", attributes)
	v.RequestXML().Set("/*", contents)
	return nil
}

// ProcessResponse implements plugintypes.BodyProcessor; Coraza reads nothing of XML answers either.
func (xmlReader) ProcessResponse(io.Reader, plugintypes.TransactionVariables, plugintypes.BodyProcessorOptions) error {
	return nil
}

// readXML is as lenient as Coraza about what stands within the root, and about an end that is missing.
func readXML(body io.Reader) (attributes, contents []string, err error) {
	d := xml.NewDecoder(body)
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	depth, rooted := 0, false
	for {
		token, err := d.Token()
		if err != nil && !endsEarly(err) {
			return nil, nil, err
		}
		switch t := token.(type) {
		case nil:
			if !rooted {
				return nil, nil, errNotXML
			}
			return attributes, contents, nil
		case xml.StartElement:
			depth, rooted = depth+1, true
			for _, a := range t.Attr {
				attributes = append(attributes, a.Value)
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			text := strings.TrimSpace(strings.TrimPrefix(string(t), "\ufeff"))
			if text != "" && depth == 0 {
				return nil, nil, errNotXML
			}
			if text != "" {
				contents = append(contents, text)
			}
		case xml.Directive:
			if bytes.ContainsAny(t, `["'`) { // an internal subset, or the address of an external one
				return nil, nil, errDTD
			}
		}
	}
}

func endsEarly(err error) bool {
	var syntax *xml.SyntaxError
	return err == io.EOF || errors.As(err, &syntax) && syntax.Msg == "unexpected EOF" //nolint:errorlint // the decoder gives the bare value
}
