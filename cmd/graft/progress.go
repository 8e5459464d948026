package main

import (
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress draws bars on standard error if that is a terminal, and prints notes there in any case.
type progress struct{ bar *progressbar.ProgressBar }

func (p *progress) Start(name string, done, total int64) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return
	}
	bytes := total < 0 || total > 1<<16 // photos are counted by the thousand, downloads are larger
	p.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription(name),
		progressbar.OptionShowBytes(bytes),
		progressbar.OptionShowCount(),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
	)
	p.bar.Set64(done)
}

func (p *progress) Add(n int) {
	if p.bar != nil {
		p.bar.Add(n)
	}
}

func (p *progress) Finish() {
	if p.bar != nil {
		p.bar.Clear()
		p.bar = nil
	}
}

func (p *progress) Note(line string) {
	if p.bar != nil {
		p.bar.Clear()
	}
	fmt.Fprintln(os.Stderr, line)
}
