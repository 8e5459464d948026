package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// flagsFirst moves the flags of a command line before its other arguments: kong ends a list of
// arguments at a flag. A flag and its value become one argument, so that the value may begin with a dash.
func flagsFirst(node *kong.Node, args []string) []string {
	var words, rest []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = slices.Concat([]string{arg}, rest, args[i+1:])
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			if child := subcommand(node, arg); child != nil && len(rest) == 0 {
				node, words = child, append(words, arg)
			} else {
				rest = append(rest, arg)
			}
			continue
		}
		switch {
		case !takesValue(node, arg):
			words = append(words, arg)
		case i+1 < len(args):
			i++
			words = append(words, arg+"="+args[i])
		default:
			rest = append(rest, arg) // so that nothing is taken for its value
		}
	}
	return append(words, rest...)
}

// subcommand returns the command of a name.
func subcommand(node *kong.Node, name string) *kong.Node {
	if i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == name }); i >= 0 {
		return node.Children[i]
	}
	return nil
}

// takesValue reports whether arg is a flag whose value is the next argument.
func takesValue(node *kong.Node, arg string) bool {
	for _, group := range node.AllFlags(false) {
		for _, flag := range group {
			if "--"+flag.Name == arg {
				return !flag.IsBool()
			}
		}
	}
	return false
}
