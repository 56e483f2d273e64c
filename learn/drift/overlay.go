package drift

import (
	"path/filepath"

	"github.com/palisade-security/palisade/model"
)

// Overlay is what a proposal adds, as a document of the OpenAPI Overlay Specification 1.0.0: each action merges into the object, or appends
// to the list, that it targets.
func (p *Proposal) Overlay() model.Object {
	actions := make([]any, 0, len(p.added))
	for _, a := range p.added {
		update := a.Value
		if a.Key != "" {
			update = model.Object{{Key: a.Key, Value: a.Value}}
		}
		actions = append(actions, model.Object{{Key: "target", Value: a.target}, {Key: "update", Value: update}})
	}
	return model.Object{
		{Key: "overlay", Value: "1.0.0"},
		{Key: "info", Value: model.Object{{Key: "title", Value: "What " + p.Service + " was seen to have"}, {Key: "version", Value: "1"}}},
		{Key: "extends", Value: filepath.ToSlash(p.Edited.File)},
		{Key: "actions", Value: actions},
	}
}
