// Package test holds what needs more than one part of sipio, and the rules that hold for all of its
// parts (the tidy tests). Nothing imports it.
package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tests of this file read the whole repository and hold it to the rules of CONTRIBUTING.md. A
// rule is a pure function in one of the other tidy files that returns its findings;
// tidy_proof_test.go shows each of them a bad example, so that a rule that finds nothing can be believed.

func TestTidy_PackagesImportOnlyWhatTheirLayerAllows(t *testing.T) {
	// Proves the tree of docs/architecture.md: the brain decides, the controller carries, the node agent executes.
	report(t, layerFindings(repositoryGo(t)))
}

func TestTidy_BrainIsPure(t *testing.T) {
	// Proves ADR 0001: no decision can reach the network, a file, a clock, a lock, a goroutine or a dice.
	report(t, purityFindings(repositoryGo(t)))
}

func TestTidy_EveryThirdPartyModuleHasOneDoor(t *testing.T) {
	// Proves that a module can be replaced in one place, by comparing each import with the table of doors.
	report(t, doorFindings(repositoryGo(t)))
}

func TestTidy_EveryKamailioRouteThatIsNamedExists(t *testing.T) {
	// Proves what `kamailio -c` does not check: each route called is defined in a file that is loaded, and each one defined is called.
	files := kamailioFiles(t)
	report(t, kamailioFindings(files))
}

func TestTidy_EveryExportedNameSaysWhy(t *testing.T) {
	// Proves that each package and each exported name outside test/ carries a comment.
	report(t, commentFindings(repositoryGo(t)))
}

func TestTidy_FunctionsAndFilesStayShort(t *testing.T) {
	// Proves the agreed bounds, and prints the longest ones, because the tail is what makes a code base bad.
	files := repositoryGo(t)
	t.Log("longest:\n" + longest(files, 6))
	report(t, lengthFindings(files))
}

func TestTidy_PackagesAreNamedAfterTheTrade(t *testing.T) {
	// Proves that no package has a name that says nothing of what is in it.
	report(t, packageNameFindings(repositoryGo(t)))
}

func TestTidy_NoFileNamesADevelopersMachine(t *testing.T) {
	// Proves that what is in the repository works elsewhere: no text file holds the absolute path of somebody's checkout.
	report(t, machinePathFindings(repositoryText(t)))
}

func TestTidy_NothingIsLeftForLaterInTheCode(t *testing.T) {
	// Proves that what is not done is in the issue tracker, where it is found, and not in a marker in the code.
	report(t, markerFindings(repositoryText(t)))
}

func TestTidy_NobodySleepsForAResult(t *testing.T) {
	// Proves that code waits for events: no sleep outside the allow list, and in tests only with the reason beside it.
	report(t, sleepFindings(repositoryGo(t)))
}

func TestTidy_EveryTestSaysWhatItProves(t *testing.T) {
	// Proves that each test and fuzz target begins with a comment.
	report(t, testCommentFindings(repositoryGo(t)))
}

func report(t *testing.T, findings []string) {
	t.Helper()
	for _, f := range findings {
		t.Error(f)
	}
}

// repositoryText returns every text file of the repository: path from its root, with slashes → content.
// Build output (bin, run, run-cluster) and hidden folders but .github are left out, binary files too.
func repositoryText(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Dir(testFolder(t))
	files := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && d.Name() != ".github"
			if hidden || rel == "bin" || rel == "run" || rel == "run-cluster" {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || strings.HasSuffix(rel, ".test") || strings.HasSuffix(rel, ".prof") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read %s: %w", rel, err)
		}
		if !strings.Contains(string(content), "\x00") {
			files[rel] = string(content)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("walk the repository: %v", err)
	}
	return files
}

// repositoryGo parses every Go file of the repository except testdata.
func repositoryGo(t *testing.T) []goFile {
	t.Helper()
	sources := map[string]string{}
	for path, content := range repositoryText(t) {
		if strings.HasSuffix(path, ".go") && !strings.Contains("/"+path, "/testdata/") {
			sources[path] = content
		}
	}
	files, err := parseGo(sources)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d Go files found: the walk is broken", len(files))
	}
	return files
}

// kamailioFiles returns the *.cfg files of kamailio-cfg.
func kamailioFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for path, content := range repositoryText(t) {
		if strings.HasPrefix(path, "kamailio-cfg/") && strings.HasSuffix(path, ".cfg") {
			files[path] = content
		}
	}
	if len(files) == 0 {
		t.Fatal("no cfg found in kamailio-cfg")
	}
	return files
}

// testFolder is where the go command runs the tests of this package: its own folder.
func testFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("find the test folder: %v", err)
	}
	return dir
}
