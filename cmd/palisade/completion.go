package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
}

func (c *completionCmd) Help() string {
	return `Examples:
  bash:  source <(palisade completion bash)
  zsh:   source <(palisade completion zsh)
  fish:  palisade completion fish | source`
}

func (c *completionCmd) Run(e *environment) error {
	verbs := wordsOf(e.parser.Model)
	write := map[string]func(io.Writer, []verbWords) error{"bash": bash, "zsh": zsh, "fish": fish}[c.Shell]
	return write(e.options.Out, verbs)
}

// verbWords is a verb with what may follow it.
type verbWords struct {
	name, help string
	verbs      []string // below it
	flags      []string // its own and those of the verbs below it
}

func wordsOf(m *kong.Application) []verbWords {
	var common []string
	for _, f := range m.Flags {
		common = append(common, "--"+f.Name)
	}
	var out []verbWords
	for _, child := range m.Children {
		v := verbWords{name: child.Name, help: child.Help, flags: append([]string(nil), common...)}
		for _, f := range child.Flags {
			v.flags = append(v.flags, "--"+f.Name)
		}
		for _, below := range child.Children {
			v.verbs = append(v.verbs, below.Name)
			for _, f := range below.Flags {
				if flag := "--" + f.Name; !slices.Contains(v.flags, flag) {
					v.flags = append(v.flags, flag)
				}
			}
		}
		out = append(out, v)
	}
	return out
}

func names(verbs []verbWords) string {
	var out []string
	for _, v := range verbs {
		out = append(out, v.name)
	}
	return strings.Join(out, " ")
}

// bash writes a function for bash's programmable completion; words that are not flags are files.
func bash(w io.Writer, verbs []verbWords) error {
	var b strings.Builder
	b.WriteString("_palisade() {\n  local cur=\"${COMP_WORDS[COMP_CWORD]}\"\n  COMPREPLY=()\n")
	fmt.Fprintf(&b, "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W %q -- \"$cur\"))\n    return\n  fi\n", names(verbs))
	for _, v := range verbs {
		if len(v.verbs) > 0 {
			fmt.Fprintf(&b, "  if [ \"$COMP_CWORD\" -eq 2 ] && [ \"${COMP_WORDS[1]}\" = %s ]; then\n    COMPREPLY=($(compgen -W %q -- \"$cur\"))\n    return\n  fi\n", v.name, strings.Join(v.verbs, " "))
		}
	}
	b.WriteString("  case \"$cur\" in -*) ;; *) return ;; esac\n  case \"${COMP_WORDS[1]}\" in\n")
	for _, v := range verbs {
		fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", v.name, strings.Join(v.flags, " "))
	}
	b.WriteString("  esac\n}\ncomplete -o default -F _palisade palisade\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// zsh lets its bash emulation run the same function.
func zsh(w io.Writer, verbs []verbWords) error {
	if _, err := io.WriteString(w, "autoload -Uz bashcompinit && bashcompinit\n"); err != nil {
		return err
	}
	return bash(w, verbs)
}

func fish(w io.Writer, verbs []verbWords) error {
	var b strings.Builder
	for _, v := range verbs {
		fmt.Fprintf(&b, "complete -c palisade -n __fish_use_subcommand -a %s -d %q\n", v.name, v.help)
		for _, below := range v.verbs {
			fmt.Fprintf(&b, "complete -c palisade -n '__fish_seen_subcommand_from %s' -a %s\n", v.name, below)
		}
		for _, f := range v.flags {
			fmt.Fprintf(&b, "complete -c palisade -n '__fish_seen_subcommand_from %s' -l %s\n", v.name, strings.TrimPrefix(f, "--"))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
