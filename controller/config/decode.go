package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decoding reads one document.
type decoding struct {
	f   *file
	doc *document
}

func (p *decoding) add(path string, line int, format string, args ...any) {
	place := path
	if p.doc.kind != "" {
		place = p.doc.place(path)
	}
	p.f.mistakes.add(place, line, format, args...)
}

// mapping returns the values of a mapping by their keys, nil when it is none. Keys written twice are told.
func (p *decoding) mapping(n *yaml.Node, path string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode || n.Anchor != "" {
		p.wrong(n, path, "fields with values")
		return nil
	}
	m := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "":
			p.wrong(key, path, "names of fields as keys")
		case m[key.Value] != nil:
			p.add(below(path, key.Value), key.Line, "is given twice")
		default:
			m[key.Value] = value
			value.Line = key.Line // where a reader looks for the field
		}
	}
	return m
}

func below(path, key string) string {
	if path == "document" {
		return key
	}
	return path + "." + key
}

// wrong tells that a node is not of the type wanted.
func (p *decoding) wrong(n *yaml.Node, path, want string) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		p.add(path, n.Line, "anchors and aliases are refused; write a value that begins with * or & in quotes")
		return
	}
	got := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}[n.Kind]
	if n.Kind == yaml.ScalarNode {
		got = strconv.Quote(cut(n.Value))
	}
	p.add(path, n.Line, "must be %s, not %s", want, got)
}

func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// required returns a string that every document must have, "" after telling that it has not.
func (p *decoding) required(keys map[string]*yaml.Node, key string) string {
	n := keys[key]
	if n == nil {
		if keys != nil {
			p.add(key, p.doc.line, "is required")
		}
		return ""
	}
	before := len(p.f.mistakes.list)
	value := ""
	p.value(n, reflect.ValueOf(&value).Elem(), key)
	if value == "" && len(p.f.mistakes.list) == before {
		p.add(key, n.Line, "is required")
	}
	return value
}

// structure fills a struct from a mapping.
func (p *decoding) structure(n *yaml.Node, v reflect.Value, path string) {
	known := make(map[string]reflect.Value, v.NumField())
	for i := range v.NumField() {
		known[jsonName(v.Type().Field(i))] = v.Field(i)
	}
	top := path == "spec"
	keys := p.mapping(n, path)
	for i := 0; keys != nil && i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		value := keys[name]
		if value != n.Content[i+1] {
			continue // written twice, or no name
		}
		target, ok := known[name]
		p.doc.lines[path+"."+name] = value.Line
		switch {
		case top && ok && isReadOnly(p.doc.kind, name):
			p.add(path+"."+name, value.Line, "is written by the platform alone")
		case !ok || name == "-" || top && (name == "id" || name == "account_id"):
			p.add(path+"."+name, value.Line, "is no field of %s", p.doc.kind)
		case top && repeatsName(p.doc.kind, name) && value.Value == target.String():
		case top && isName(p.doc.kind, name):
			p.add(path+"."+name, value.Line, "is given by the document's name")
		default:
			p.value(value, target, path+"."+name)
		}
	}
}

// value fills one field. Where text is wanted a whole number or a date will do as it is written, because
// extension numbers and holidays look like one.
func (p *decoding) value(n *yaml.Node, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		p.structure(n, v, path)
		return
	case reflect.Slice:
		if v.Type() == rawType {
			p.raw(n, v, path)
			return
		}
		p.list(n, v, path)
		return
	case reflect.Map:
		p.byName(n, v, path)
		return
	case reflect.Pointer:
		given, before := reflect.New(v.Type().Elem()), len(p.f.mistakes.list)
		p.value(n, given.Elem(), path)
		if len(p.f.mistakes.list) == before && (given.Elem().Kind() != reflect.String || !given.Elem().IsZero()) {
			v.Set(given)
		}
		return
	}
	if n.Kind != yaml.ScalarNode || n.Anchor != "" {
		p.wrong(n, path, map[reflect.Kind]string{reflect.String: "text", reflect.Int: "a whole number", reflect.Int64: "a whole number", reflect.Bool: "true or false"}[v.Kind()])
		return
	}
	tag := n.ShortTag()
	switch v.Kind() {
	case reflect.String:
		if tag != "!!str" && tag != "!!int" && tag != "!!timestamp" {
			p.wrong(n, path, "text (in quotes)")
			return
		}
		v.SetString(n.Value)
	case reflect.Int, reflect.Int64:
		number, err := strconv.ParseInt(n.Value, 10, 64)
		if tag != "!!int" || err != nil {
			p.wrong(n, path, "a whole number")
			return
		}
		v.SetInt(number)
	case reflect.Bool:
		if tag != "!!bool" {
			p.wrong(n, path, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	}
}

// maxItems bounds every list of a resource before its own limit is looked at.
const maxItems = 1000

func (p *decoding) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode || n.Anchor != "" {
		p.wrong(n, path, "a list")
		return
	}
	if len(n.Content) > maxItems {
		p.add(path, n.Line, "has %d items, more than %d", len(n.Content), maxItems)
		return
	}
	for i, item := range n.Content {
		element := reflect.New(v.Type().Elem()).Elem()
		at := fmt.Sprintf("%s[%d]", path, i)
		p.doc.lines[at] = item.Line
		p.value(item, element, at)
		v.Set(reflect.Append(v, element))
	}
}
