package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// arrange brings the words of a query behind the flags that stand among them, and behind "--", so that a query, its flags and a model
// may come in any order, and a query may begin with "-". Other verbs are left as they are.
func arrange(app *kong.Application, args []string) []string {
	at, verb := verbOf(app, args)
	if verb == nil || verb.Name != "events" {
		return args
	}
	known := map[string]*kong.Flag{}
	for _, group := range verb.AllFlags(true) {
		for _, f := range group {
			known["--"+f.Name] = f
			if f.Short != 0 {
				known["-"+string(f.Short)] = f
			}
		}
	}
	out, words := append([]string{}, args[:at+1]...), []string(nil)
	for rest := args[at+1:]; len(rest) > 0; rest = rest[1:] {
		word := rest[0]
		switch f := known[word]; {
		case word == "--":
			words, rest = append(words, rest[1:]...), rest[:1]
		case f != nil && !f.IsBool() && len(rest) > 1:
			out = append(out, "--"+f.Name+"="+rest[1]) // a value may begin with "-", too
			rest = rest[1:]
		case len(word) < 2 || word[0] != '-' || isExcluding(word):
			words = append(words, word)
		default:
			out = append(out, word)
		}
	}
	if len(words) > 0 {
		out = append(append(out, "--"), words...)
	}
	return out
}

// isExcluding tells a query that begins with what it leaves out, such as -method:GET, from a flag.
func isExcluding(word string) bool {
	return !strings.HasPrefix(word, "--") && strings.ContainsAny(word, ":\"( ")
}

// verbOf finds the first word that is no flag of every verb, and the verb that it names.
func verbOf(app *kong.Application, args []string) (at int, verb *kong.Node) {
	for ; at < len(args) && strings.HasPrefix(args[at], "-"); at++ {
		for _, f := range app.Flags {
			if !f.IsBool() && (args[at] == "--"+f.Name || f.Short != 0 && args[at] == "-"+string(f.Short)) {
				at++
				break
			}
		}
	}
	if at < len(args) {
		for _, child := range app.Children {
			if child.Name == args[at] {
				return at, child
			}
		}
	}
	return at, nil
}

// advised adds to what kong says of a command line how to mend it, where that does not say.
func advised(parsed *kong.Context, err error) error {
	text := err.Error()
	verb := ""
	if parsed != nil && parsed.Selected() != nil {
		verb = parsed.Selected().Name
	}
	switch flag, _, isDraw := strings.Cut(text, ` applies to the default command "draw"`); {
	case isDraw:
		return fmt.Errorf("%s stands before a verb of map; it goes behind it, such as palisade map blast SERVICE --weight CLASS=NUMBER", flag)
	case verb == "events" && strings.Contains(text, "unknown flag -") && !strings.Contains(text, "unknown flag --"):
		return fmt.Errorf("%w; a query that begins with - stands behind --, such as palisade events -- -card", err)
	}
	return err
}
