package app

import (
	"errors"
	"fmt"

	"github.com/palisade-security/palisade/export"
	"github.com/palisade-security/palisade/model"
)

// Export writes what an exporter makes of the model, and tells what the model says that it cannot.
func Export(o *Options, write func(*model.Snapshot) (*export.Result, error)) error {
	_, snap, findings, err := o.load(true)
	if err != nil {
		return errors.Join(err, o.printFindings(o.Err, findings))
	}
	r, err := write(snap)
	if err != nil {
		return err
	}
	if o.JSON {
		gaps := r.Gaps
		if gaps == nil {
			gaps = []export.Gap{}
		}
		return writeJSON(o.Out, struct {
			Text string       `json:"text"`
			Gaps []export.Gap `json:"gaps"`
		}{string(r.Text), gaps})
	}
	for _, g := range r.Gaps {
		fmt.Fprintf(o.Err, "not held: %s: %s\n", g.Key, g.Words)
	}
	_, err = o.Out.Write(r.Text)
	return err
}
