"""What notebooks and scripts use: trainings, finished runs, tables of runs and reports. Exported by `dlzoo` itself."""
