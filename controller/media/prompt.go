package media

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// Prompts are texts by language: one file each, a line for each prompt.
//
//go:embed prompt/*.txt
var promptFiles embed.FS

// catalogue is the texts of the platform's prompts: language, then id.
var catalogue = sync.OnceValue(func() map[string]map[string]string {
	files, err := promptFiles.ReadDir("prompt")
	if err != nil {
		panic(err) // part of the program
	}
	all := make(map[string]map[string]string, len(files))
	for _, f := range files {
		b, err := promptFiles.ReadFile("prompt/" + f.Name())
		if err != nil {
			panic(err) // part of the program
		}
		texts := make(map[string]string)
		for line := range strings.Lines(string(b)) {
			id, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
			texts[id] = text
		}
		all[strings.TrimSuffix(f.Name(), ".txt")] = texts
	}
	return all
})

// digitPrompt is the prefix of the prompts digit-0 to digit-9. Any engine reads figures, so they are there in each of
// its languages.
const digitPrompt = "digit-"

// PromptLanguages are the languages that the platform's prompts are written in, sorted.
func PromptLanguages() []string { return slices.Sorted(maps.Keys(catalogue())) }

// PromptText is what a prompt says in a language, "" when the catalogue does not have it.
func PromptText(language, id string) string {
	if digit, ok := strings.CutPrefix(id, digitPrompt); ok && len(digit) == 1 && digit >= "0" && digit <= "9" {
		return digit
	}
	return catalogue()[language][id]
}

func promptKey(language, gender, id string) string {
	return systemPrefix + language + "/" + gender + "/" + id + ".wav"
}

// prompt is one of the platform's prompts in the best language there is: what lies in the store, where an
// operator may put recordings of his own, else what the engine makes of the catalogue.
func (l *Library) prompt(ctx context.Context, acct *brain.AccountConfig, s brain.Sound) (api.MediaRef, error) {
	if len(s.Prompt) > 64 || strings.Trim(s.Prompt, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return api.MediaRef{}, brain.Errorf(brain.EInvalid, "no prompt %.64q", s.Prompt)
	}
	var failed error
	for _, tag := range languages(s.Language, acct.Account.Language) {
		ref, err := l.promptIn(ctx, tag, gender(s.Gender, acct), s.Prompt)
		if err == nil {
			return ref, nil
		}
		if brain.CodeOf(err) != brain.ENotFound {
			failed = err // another language is better than none
		}
	}
	if failed != nil {
		return api.MediaRef{}, failed
	}
	return api.MediaRef{}, brain.Errorf(brain.ENotFound, "no prompt %s", s.Prompt)
}

// promptIn is a prompt in one language, ENotFound when there is none in it.
func (l *Library) promptIn(ctx context.Context, language, gender, id string) (api.MediaRef, error) {
	key, text := promptKey(language, gender, id), PromptText(language, id)
	if text == "" || l.speaker.engine == nil || !slices.Contains(l.speaker.engine.Languages(), language) {
		return l.find(ctx, key)
	}
	return l.made(ctx, key, func(ctx context.Context) ([]byte, error) {
		return l.speaker.say(ctx, Speech{Text: text, Language: language, Gender: gender})
	})
}

// Prepared says what a Prepare did.
type Prepared struct {
	There  int // prompts and music that are in the store now
	Failed int
}

// Prepare makes what is missing of the platform's prompts in some languages, none given: in all that it can, and
// its music. It goes on after a failure; the error joins the first ten of them.
func (l *Library) Prepare(ctx context.Context, languages []string) (Prepared, error) {
	if len(languages) == 0 {
		languages = PromptLanguages()
		if l.speaker.engine != nil {
			languages = append(languages, l.speaker.engine.Languages()...)
		}
	}
	type work struct{ language, gender, id string }
	var list []work
	for _, tag := range slices.Compact(slices.Sorted(slices.Values(languages))) {
		if !isTag(tag) {
			return Prepared{}, brain.Errorf(brain.EInvalid, "no language tag in lower case: %.40q", tag)
		}
		ids := slices.Sorted(maps.Keys(catalogue()[tag]))
		for d := range 10 {
			ids = append(ids, fmt.Sprint(digitPrompt, d))
		}
		for _, g := range []string{Female, Male} {
			for _, id := range ids {
				list = append(list, work{tag, g, id})
			}
		}
	}
	var done Prepared
	var failures []error
	var mu sync.Mutex
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			done.There++
			return
		}
		if done.Failed++; len(failures) < 10 {
			failures = append(failures, err)
		}
	}
	_, err := l.Music(ctx)
	note(err)
	var workers sync.WaitGroup
	next := make(chan work)
	for range maxSpeaking {
		workers.Go(func() {
			for w := range next {
				_, err := l.promptIn(ctx, w.language, w.gender, w.id)
				note(err)
			}
		})
	}
	for _, w := range list {
		if ctx.Err() != nil {
			break
		}
		next <- w
	}
	close(next)
	workers.Wait()
	return done, errors.Join(append(failures, ctx.Err())...)
}
