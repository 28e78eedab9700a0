def write_report(runs, output): pass
