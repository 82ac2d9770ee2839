package test

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Documents whose claims are held to the repository.
var heldDocuments = []string{"README.md", "docs/architecture.md", "docs/operating.md", "docs/testing.md", "docs/protocol.md", "docs/security.md"}

var (
	namedTest = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*`)
	namedPath = regexp.MustCompile("[`(](?:\\.\\./)?((?:brain|controller|nodeagent|cmd|kamailio-cfg|rtpengine-cfg|test|deploy|docs|adr)/[A-Za-z0-9_./-]*)[`)]")
)

func TestDocs_NameOnlyWhatIsThere(t *testing.T) {
	// Proves that a document that names a test or a file as its proof names one that exists: each test function
	// and each path of the documents is looked up in the repository. A test may be named by its beginning, as -run takes it.
	root := filepath.Dir(testFolder(t))
	var tests []string
	for _, f := range repositoryGo(t) {
		for _, decl := range f.ast.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && strings.HasSuffix(f.path, "_test.go") {
				tests = append(tests, d.Name.Name)
			}
		}
	}
	named := 0
	for _, doc := range heldDocuments {
		raw, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range namedTest.FindAllString(string(raw), -1) {
			if !slices.ContainsFunc(tests, func(test string) bool { return strings.HasPrefix(test, name) }) {
				t.Errorf("%s names %s, which no test is called", doc, name)
			}
		}
		named += len(namedTest.FindAll(raw, -1))
		for _, found := range namedPath.FindAllStringSubmatch(string(raw), -1) {
			path := found[1]
			if strings.HasPrefix(path, "adr/") {
				path = "docs/" + path
			}
			if strings.HasSuffix(path, "/X") {
				continue // any part
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s names %s, which is not there", doc, path)
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d tests are named in all documents: does the pattern still find them?", named)
	}
}
