package main

import (
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"unicode"
)

// table is columns for people; programs ask for --json.
type table struct{ lines []string }

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	return t
}

// row adds a line. An empty cell is written as -, and what would break the table is written as a blank.
func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, cell)
		if cell == "" {
			cells[i] = "-"
		}
	}
	t.lines = append(t.lines, strings.Join(cells, "\t"))
}

func (t *table) write(w io.Writer) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(columns, strings.Join(t.lines, "\n")+"\n"); err != nil {
		return err
	}
	return columns.Flush()
}

// writeJSON is for programs.
func writeJSON(w io.Writer, v any) error {
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice && list.IsNil() {
		v = []struct{}{} // an empty list is [], not null
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
