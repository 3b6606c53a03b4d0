# The curve of a learning-rate range test, and the rate that it suggests.
#
#	gnuplot -e "curve='curve.tsv'; picture='lr_find.png'" lr_find.gp
#
# curve.tsv: rate, loss, smoothed loss, suggested (tab separated), for example from
#
#	SELECT lr, loss, smoothed, suggested FROM collab.lr_find('ratings', num_it => 1000) ORDER BY step
set terminal pngcairo size 1000,640 font "DejaVu Sans,11" background rgb "white"
set output picture
set datafile separator "\t"
set lmargin at screen 0.08
set rmargin at screen 0.975
set bmargin at screen 0.11
set tmargin at screen 0.92
set title (exists("heading") ? heading : "Loss while the learning rate rises") noenhanced font "DejaVu Sans,14"
set xlabel "learning rate"
set ylabel "mean squared error"
set border 3 linecolor rgb "#888888"
set tics nomirror textcolor rgb "#666666"
set grid linecolor rgb "#eeeeee"
set key bottom left Left reverse opaque textcolor rgb "#444444"
set logscale x
set format x "10^{%T}"

# The start and the lowest are of interest, not how far the end goes up.
stats curve using 3 every ::0::0 nooutput
start = STATS_max
stats curve using 3 nooutput
set yrange [STATS_min - 0.3 * (start - STATS_min) - 0.05 * start : start + 0.5 * (start - STATS_min) + 0.1 * start]
plot curve using 1:2 with points pointtype 7 pointsize 0.3 linecolor rgb "#b8cce4" title "of each batch", \
	curve using 1:3 with lines linewidth 2 linecolor rgb "#3b6ea5" title "smoothed", \
	curve using (strcol(4) eq "t" ? $1 : NaN):3 with points pointtype 7 pointsize 1.4 linecolor rgb "#c0392b" title "suggested", \
	curve using (strcol(4) eq "t" ? $1 : NaN):3:(sprintf("%.1e", $1)) with labels noenhanced left offset 1, 0.8 textcolor rgb "#c0392b" notitle
