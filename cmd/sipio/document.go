package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
)

// maxDocument bounds the files of one document together, in bytes, as the brain does.
const maxDocument = 8 << 20

// document is what the files say, joined into one stream of YAML documents, with where each line was.
type document struct {
	text  []byte
	files []fileStart
	read  []os.FileInfo // so that none is read twice
	lines int
}

// fileStart says that a file begins after so many lines of the joined text.
type fileStart struct {
	name   string
	before int
}

// addFileFlag adds -f; further arguments are files too, so that a shell's * works.
func addFileFlag(cmd *cobra.Command, paths *[]string) {
	cmd.Flags().StringArrayVarP(paths, "file", "f", nil, "YAML file, directory of .yaml and .yml files, or - for standard input; may be repeated")
}

// load reads files and directories; those of a directory in the order of their names.
func load(paths []string, stdin io.Reader) (*document, error) {
	if len(paths) == 0 {
		return nil, errors.New("say what to read: -f FILE or -f DIRECTORY")
	}
	d := &document{}
	for _, path := range paths {
		if path == "-" {
			if err := d.add("stdin", stdin); err != nil {
				return nil, err
			}
			continue
		}
		names, err := yamlFiles(path)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if err := d.addFile(name); err != nil {
				return nil, err
			}
		}
	}
	if d.empty() {
		return nil, errors.New("the files name nothing")
	}
	return d, nil
}

// empty tells whether there is nothing but comments and dividers, as in a file that was cut off.
func (d *document) empty() bool {
	for line := range strings.Lines(string(d.text)) {
		switch line = strings.TrimSpace(line); {
		case line == "", line == "---", line == "...", line == "[]", strings.HasPrefix(line, "#"):
		default:
			return false
		}
	}
	return true
}

// yamlFiles lists the files under a path in order of names; a file is itself, whatever it is called.
func yamlFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var names []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if ext := filepath.Ext(name); err == nil && !entry.IsDir() && (ext == ".yaml" || ext == ".yml") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no .yaml or .yml file", path)
	}
	return names, nil
}

func (d *document) addFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if slices.ContainsFunc(d.read, func(before os.FileInfo) bool { return os.SameFile(before, info) }) {
		return nil // named by itself and by its directory
	}
	d.read = append(d.read, info)
	return d.add(name, f)
}

// add appends a file, divided from the one before unless it begins with a divider of its own.
func (d *document) add(name string, r io.Reader) error {
	raw, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	if len(raw)+len(d.text) > maxDocument {
		return fmt.Errorf("%s: the files together are longer than %d MiB: apply them in parts", name, maxDocument>>20)
	}
	if len(d.text) > 0 && !bytes.HasPrefix(raw, []byte("---")) {
		d.append([]byte("---\n"))
	}
	d.files = append(d.files, fileStart{name, d.lines})
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		raw = append(raw, '\n')
	}
	d.append(raw)
	return nil
}

func (d *document) append(raw []byte) {
	d.text = append(d.text, raw...)
	d.lines += bytes.Count(raw, []byte("\n"))
}

// place names the file and line of a line of the joined text; only the file or nothing when that is
// all there is to know.
func (d *document) place(line int) string {
	if line <= 0 {
		if len(d.files) == 1 {
			return d.files[0].name
		}
		return ""
	}
	for i := len(d.files) - 1; i >= 0; i-- {
		if f := d.files[i]; line > f.before {
			return fmt.Sprintf("%s:%d", f.name, line-f.before)
		}
	}
	return fmt.Sprintf("line %d", line)
}

// complain writes the mistakes of a document as file:line: path: text, and ends the command. Any
// other error is passed on.
func (d *document) complain(w io.Writer, err error) error {
	e, ok := errors.AsType[*brain.Error](err)
	if !ok || len(e.Fields) == 0 {
		return err
	}
	d.list(w, e.Fields)
	fmt.Fprintln(w, "nothing was changed")
	return exitCode(exitFailed)
}

// list writes mistakes and their number.
func (d *document) list(w io.Writer, mistakes []brain.FieldError) {
	for _, m := range mistakes {
		var parts []string
		for _, part := range []string{d.place(m.Line), m.Path, m.Text} {
			if part != "" {
				parts = append(parts, part)
			}
		}
		fmt.Fprintln(w, strings.Join(parts, ": "))
	}
	plural := "s"
	if len(mistakes) == 1 {
		plural = ""
	}
	fmt.Fprintf(w, "%d mistake%s\n", len(mistakes), plural)
}
