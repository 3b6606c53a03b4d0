# Validation loss against the number of factors, a line for each weight decay.
#
#	gnuplot -e "trials='trials.tsv'; decays='0.05 0.1 0.2'; picture='tune.png'" tune.gp
#
# trials.tsv: decay, number of factors, validation loss (tab separated), for
# example from
#
#	SELECT wd, n_factors, valid_loss
#	  FROM collab.tune('ratings', n_factors => '{2,5,10,20,50,100,200}', wd => '{0.05,0.1,0.2}', folds => 5)
#	 ORDER BY wd, n_factors
set terminal pngcairo size 1000,640 font "DejaVu Sans,11" background rgb "white"
set output picture
set datafile separator "\t"
set lmargin at screen 0.08
set rmargin at screen 0.975
set bmargin at screen 0.11
set tmargin at screen 0.92
set title (exists("heading") ? heading : "Loss on held-out ratings by number of factors") noenhanced font "DejaVu Sans,14"
set xlabel "factors"
set ylabel "mean squared error"
set border 3 linecolor rgb "#888888"
set tics nomirror textcolor rgb "#666666"
set grid linecolor rgb "#eeeeee"
set key top center Left reverse opaque textcolor rgb "#444444"
set logscale x
set xtics (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
stats trials using 2 nooutput
set xrange [0.9 * STATS_min : 1.1 * STATS_max]

array colours[6] = ["#3b6ea5", "#c0392b", "#2e8b57", "#8e6bb0", "#c07f2b", "#666666"]
plot for [i=1:words(decays)] trials using (strcol(1) eq word(decays, i) ? $2 : NaN):3 with linespoints \
	linewidth 2 pointtype 7 pointsize 1 linecolor rgb colours[(i - 1) % 6 + 1] title "weight decay ".word(decays, i)
